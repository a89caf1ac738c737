//go:build !linux

package netns

import (
	"errors"
	"syscall"
)

// Missing keeps everybody from getting here.

func enter(string) error { return errors.New(Missing()) }

func fresh() *syscall.SysProcAttr { return nil }

// Mortal starts a process like any other: only Linux ends it with its thread.
func Mortal() *syscall.SysProcAttr { return new(syscall.SysProcAttr) }
