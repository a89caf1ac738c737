// Package layercheck holds no code: its tests enforce who may import whom (DESIGN.md 1), that hot packages stay free of
// formatting, logging and clocks, and that the default build needs no C compiler.
package layercheck
