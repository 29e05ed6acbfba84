package program

import "C" // A program that is built with cgo has C code in it, whatever else it needs.
