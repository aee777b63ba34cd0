package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// requestTime is after how long a request without an answer has failed.
const requestTime = 20 * time.Second

// load is requests at a steady rate to one address, and what became of them: the answers' first words, or errors. Each has a connection of its own, but every tenth
// goes on using one.
type load struct {
	mu    sync.Mutex
	stop  chan struct{} // nil: there is none
	under sync.WaitGroup
	saw   map[string]int // first word of the answer, or the error → how often
}

// serve begins a load (/load?to=URL&rate=N, of N in a second), tells of it (/load), or ends it and tells when all are answered (/load?stop).
func (l *load) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	l.mu.Lock()
	switch rate, _ := strconv.Atoi(q.Get("rate")); {
	case rate > 0 && l.stop == nil:
		l.stop, l.saw = make(chan struct{}), map[string]int{}
		l.under.Add(1)
		go l.run(q.Get("to"), time.Second/time.Duration(rate), l.stop)
	case q.Has("stop") && l.stop != nil:
		close(l.stop)
		l.stop = nil
		l.mu.Unlock()
		l.under.Wait()
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	json.NewEncoder(w).Encode(l.saw)
}

func (l *load) run(to string, pause time.Duration, stop <-chan struct{}) {
	defer l.under.Done()
	once := &http.Client{Timeout: requestTime, Transport: &http.Transport{DisableKeepAlives: true}}
	kept := &http.Client{Timeout: requestTime, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	began := time.Now()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Until(began.Add(time.Duration(i) * pause))):
		}
		client := once
		if i%10 == 0 {
			client = kept
		}
		l.under.Go(func() {
			what := first(client, to)
			l.mu.Lock()
			l.saw[what]++
			l.mu.Unlock()
		})
	}
}

// first is the answer's first word, or why there is none.
func first(client *http.Client, to string) string {
	answer, err := client.Get(to)
	if err != nil {
		return failure(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return failure(err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Sprint("error: status ", answer.StatusCode)
	}
	word, _, _ := strings.Cut(string(text), " ")
	return word
}

// failure is an error without the connection's addresses.
func failure(err error) string {
	var errno syscall.Errno
	var why *url.Error
	switch {
	case errors.As(err, &errno):
		err = errno
	case errors.As(err, &why):
		err = why.Err
	}
	return "error: " + err.Error()
}
