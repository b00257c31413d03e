package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	requestLimit = 30 * time.Second
	// A round with more failures than this is aborted, because its figures would be meaningless.
	failuresAllowed = 5
)

// A Round sends Requests requests to one target from Concurrency clients, each of which sends its
// next request as soon as it has its answer.
type Round struct {
	URL         string `json:"url"` // of the target, without /v1
	Key         string `json:"key"` // sent as bearer token and x-api-key
	Protocol    string `json:"protocol"`
	Model       string `json:"model"`
	Tokens      int    `json:"tokens"` // each answer must have
	Stream      bool   `json:"stream"`
	PromptBytes int    `json:"prompt_bytes"` // of the first message; the last one is always new
	Concurrency int    `json:"concurrency"`
	Requests    int    `json:"requests"`
}

// Figures are the results of a round; times in milliseconds. TTFT (time to the first token) and
// Relay (from a token's timestamp to its arrival, over all tokens) are null without streaming.
type Figures struct {
	Requests int        `json:"requests"` // answered in full
	Failures int        `json:"failures"`
	Failure  string     `json:"failure"` // the first one
	Seconds  float64    `json:"seconds"`
	Latency  *Quantiles `json:"latency_ms"`
	TTFT     *Quantiles `json:"ttft_ms"`
	Relay    *Quantiles `json:"relay_ms"`
}

// Quantiles of a set of measured values.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func quantiles(values []float64) *Quantiles {
	if len(values) == 0 {
		return nil
	}
	sort.Float64s(values)
	at := func(share float64) float64 { return values[int(share*float64(len(values)-1)+0.5)] }
	return &Quantiles{P50: at(0.50), P99: at(0.99)}
}

// newClient returns a client that keeps one connection for each of many concurrent requests.
func newClient() *http.Client {
	return &http.Client{
		Timeout:   requestLimit,
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
	}
}

// asked counts all requests of the program, so that no two are the same, like those of an agent.
var asked atomic.Int64

func (r *Round) run(client *http.Client) (*Figures, error) {
	speaking, ok := protocols[r.Protocol]
	if !ok {
		return nil, fmt.Errorf("unknown protocol %q", r.Protocol)
	}
	filler := strings.Repeat("lorem ip", r.PromptBytes/8+1)[:r.PromptBytes]
	var (
		guard                sync.Mutex
		latency, ttft, relay []float64
		figures              Figures
		taken                atomic.Int64
		clients              sync.WaitGroup
	)
	add := func(one measured, err error) (goOn bool) {
		guard.Lock()
		defer guard.Unlock()
		if err != nil {
			if figures.Failures == 0 {
				figures.Failure = err.Error()
			}
			figures.Failures++
			return figures.Failures <= failuresAllowed
		}
		latency = append(latency, one.latency)
		if r.Stream {
			ttft = append(ttft, one.ttft)
			relay = append(relay, one.relay...)
		}
		return true
	}
	start := clock()
	for number := 0; number < r.Concurrency; number++ {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for taken.Add(1) <= int64(r.Requests) {
				last := fmt.Sprintf("Request %d.", asked.Add(1))
				body := speaking.request(r.Model, filler, last, r.Stream)
				if !add(r.ask(client, speaking, body)) {
					return
				}
			}
		}()
	}
	clients.Wait()
	figures.Seconds = float64(clock()-start) / 1e9
	figures.Requests = len(latency)
	figures.Latency, figures.TTFT, figures.Relay = quantiles(latency), quantiles(ttft), quantiles(relay)
	return &figures, nil
}

// measured is one answer: milliseconds to its end and to its first token, and each token's delay.
type measured struct {
	latency, ttft float64
	relay         []float64
}

// ask sends one request; an incomplete answer is an error.
func (r *Round) ask(client *http.Client, speaking protocol, body string) (measured, error) {
	var one measured
	request, err := http.NewRequest(http.MethodPost, r.URL+speaking.path, strings.NewReader(body))
	if err != nil {
		return one, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+r.Key)
	request.Header.Set("x-api-key", r.Key)
	request.Header.Set("anthropic-version", "2023-06-01")
	start := clock()
	response, err := client.Do(request)
	if err != nil {
		return one, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return one, fmt.Errorf("status %d: %s", response.StatusCode, said)
	}
	if r.Stream {
		one.relay = make([]float64, 0, r.Tokens)
		err = one.listen(response.Body, speaking, start)
	} else {
		err = r.readWhole(response.Body)
	}
	one.latency = milliseconds(clock() - start)
	if err == nil && r.Stream && len(one.relay) != r.Tokens {
		err = fmt.Errorf("%d tokens instead of %d", len(one.relay), r.Tokens)
	}
	return one, err
}

func (r *Round) readWhole(body io.Reader) error {
	document, err := io.ReadAll(body)
	if tokens := bytes.Count(document, []byte("@")); err == nil && tokens != r.Tokens {
		err = fmt.Errorf("%d tokens instead of %d", tokens, r.Tokens)
	}
	return err
}

// listen reads a stream to its end and notes when each token arrived.
func (one *measured) listen(body io.Reader, speaking protocol, start int64) error {
	tokenMark, endMark := []byte(speaking.tokenMark), []byte(speaking.endMark)
	ended := false
	// A line may be long, because some protocols repeat the whole text at the end.
	lines := bufio.NewReaderSize(body, 64*1024)
	for {
		line, err := lines.ReadBytes('\n')
		if bytes.HasPrefix(line, []byte("data:")) {
			if bytes.Contains(line, tokenMark) {
				one.arrived(line, start)
			} else if bytes.Contains(line, endMark) {
				ended = true
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if !ended {
		return fmt.Errorf("the stream ended without %s", speaking.endMark)
	}
	return nil
}

// arrived notes the tokens of one line; a gateway may have put several into it.
func (one *measured) arrived(line []byte, start int64) {
	now := clock()
	for _, rest := range bytes.Split(line, []byte("@"))[1:] {
		stamp, _, found := bytes.Cut(rest, []byte(" "))
		sent, err := strconv.ParseInt(string(stamp), 10, 64)
		if !found || err != nil {
			continue // counted as missing
		}
		if len(one.relay) == 0 {
			one.ttft = milliseconds(now - start)
		}
		one.relay = append(one.relay, milliseconds(now-sent))
	}
}
