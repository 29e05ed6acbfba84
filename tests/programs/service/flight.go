//go:build go1.25

package main

import "runtime/trace"

// record turns the flight recorder on; what it returns turns it off.
func record() func() {
	recorder := trace.NewFlightRecorder(trace.FlightRecorderConfig{})
	if err := recorder.Start(); err != nil {
		panic(err)
	}
	return recorder.Stop
}
