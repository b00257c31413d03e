package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A timing is the speed that a model's name specifies: ttft50-tokens200-gap5 is 50 ms to the first
// of 200 tokens that are 5 ms apart. Decimals are allowed.
type timing struct {
	ttft, gap time.Duration
	tokens    int
}

var timingName = regexp.MustCompile(`^ttft([0-9.]+)-tokens([0-9]+)-gap([0-9.]+)$`)

func parseTiming(model string) (timing, error) {
	found := timingName.FindStringSubmatch(model)
	if found == nil {
		return timing{}, fmt.Errorf("model %q is not named like ttft50-tokens200-gap5", model)
	}
	ttft, err := time.ParseDuration(found[1] + "ms")
	if err != nil {
		return timing{}, err
	}
	tokens, err := strconv.Atoi(found[2])
	if err != nil {
		return timing{}, err
	}
	gap, err := time.ParseDuration(found[3] + "ms")
	return timing{ttft: ttft, gap: gap, tokens: tokens}, err
}

// due returns when a token of an answer requested at start is due. It counts from the start, so that
// late wake-ups do not accumulate.
func (t timing) due(start int64, token int) int64 {
	return start + int64(t.ttft) + int64(token)*int64(t.gap)
}

func sleepUntil(moment int64) { time.Sleep(time.Duration(moment - clock())) }

// stamped returns a token with the current time, from which the client computes its delay.
func stamped() string { return "@" + strconv.FormatInt(clock(), 10) + " " }

// upstream returns the fake provider of all three protocols.
func upstream() http.Handler {
	mux := http.NewServeMux()
	for _, speaking := range protocols {
		speaking := speaking
		mux.HandleFunc(speaking.path, func(w http.ResponseWriter, r *http.Request) {
			answer(speaking, w, r)
		})
	}
	return mux
}

func answer(speaking protocol, w http.ResponseWriter, r *http.Request) {
	start := clock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var asked struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pace, err := parseTiming(asked.Model)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	if asked.Stream {
		streamAnswer(speaking, w, r, asked.Model, pace, start)
		return
	}
	sleepUntil(pace.due(start, pace.tokens-1))
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, speaking.whole(asked.Model, strings.Repeat(stamped(), pace.tokens), pace.tokens))
}

func streamAnswer(speaking protocol, w http.ResponseWriter, r *http.Request, model string, pace timing, start int64) {
	flusher, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "this connection cannot stream", http.StatusInternalServerError)
		return
	}
	send := func(frames string) {
		io.WriteString(w, frames)
		flusher.Flush()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	// Headers and opening come with the first token, as from most providers.
	sleepUntil(pace.due(start, 0))
	send(speaking.opening(model))
	var text strings.Builder
	for number := 0; number < pace.tokens; number++ {
		sleepUntil(pace.due(start, number))
		if r.Context().Err() != nil {
			return
		}
		token := stamped()
		text.WriteString(token)
		send(speaking.token(model, number, token))
	}
	send(speaking.ending(model, text.String(), pace.tokens))
}
