//go:build !linux

package main

import "fmt"

func full(*bench) error { return fmt.Errorf("%w: it mounts a small disk as Linux does", errSkipped) }
