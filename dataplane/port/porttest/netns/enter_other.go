//go:build !linux

package netns

import (
	"errors"
	"syscall"
)

// Missing keeps everybody from getting here.

func enter(string) error { return errors.New(Missing()) }

func fresh() *syscall.SysProcAttr { return nil }

func mortal() *syscall.SysProcAttr { return nil }
