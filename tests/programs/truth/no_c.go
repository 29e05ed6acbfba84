//go:build !cgo

package main

func startInC() bool { return false }
