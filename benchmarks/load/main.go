// Command load contains both ends of the gateway's benchmark: a fake upstream and a closed-loop
// client.
//
// Both are in one process, so that a token's timestamp and its arrival use one monotonic clock.
// The first line on standard output is {"url": "http://127.0.0.1:PORT"}, the fake upstream. Then
// each line on standard input is one Round as JSON, answered by one line of Figures once it has
// been run. The end of the input ends the program.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"
)

var began = time.Now()

// clock returns nanoseconds since the start of the program, from the monotonic clock.
func clock() int64 { return int64(time.Since(began)) }

func milliseconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e6 }

func main() {
	// The program shares the CPU with the gateway, so garbage collections are more expensive than memory.
	debug.SetGCPercent(800)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, upstream()) }()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"url": "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	client := newClient()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var round Round
		if err := json.Unmarshal(lines.Bytes(), &round); err != nil {
			return fmt.Errorf("a round that cannot be read: %w", err)
		}
		figures, err := round.run(client)
		if err != nil {
			return err
		}
		if err := out.Encode(figures); err != nil {
			return err
		}
		select {
		case err := <-failed:
			return err
		default:
		}
	}
	return lines.Err()
}
