//go:build unix && !linux

package main

func undumpable() error { return nil }
