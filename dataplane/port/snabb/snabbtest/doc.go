// Package snabbtest holds the tests of the firehose library as Snabb uses it: they build it, load it into a program of
// their own (testdata/harness.c) that loops over rings of descriptors as Snabb does, and into LuaJIT (testdata/loop.lua), and
// receive with package snabb. They need the tag snabb, gcc and luajit; without the tag the package is empty. It is never part of the product.
package snabbtest
