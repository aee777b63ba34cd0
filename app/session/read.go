package session

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"mirrord/launcher/events"
)

const (
	// maxLine bounds a line, in bytes. An environment with all values that it may have is larger; a real one is 100 KiB.
	maxLine = 8 << 20
	// maxBatch is how many events are added at once.
	maxBatch = 512
)

// ReadEvents reads lines, as events.md has them, until r ends, and hands on what they say in batches of at most 512, each as soon as no more is there to be read. What is no event is counted, and so
// is a line that is too long, of which nothing is kept. A batch may be used until add returns.
func ReadEvents(r io.Reader, add func(batch []events.Event, garbage int)) {
	in := bufio.NewReaderSize(r, 64<<10)
	batch := make([]events.Event, 0, maxBatch)
	garbage := 0
	for {
		line, whole, err := readLine(in)
		var ev events.Event
		switch {
		case whole && len(bytes.TrimSpace(line)) == 0:
		case whole && json.Unmarshal(line, &ev) == nil && ev.Type != "":
			batch = append(batch, ev)
		default:
			garbage++
		}
		if more := in.Buffered() > 0 && len(batch) < maxBatch && err == nil; !more && len(batch)+garbage > 0 {
			add(batch, garbage)
			clear(batch)
			batch, garbage = batch[:0], 0
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line, which holds until the next call; whole is false for one that is too long. A last line without an end is one that was broken off, or nothing.
func readLine(in *bufio.Reader) (line []byte, whole bool, err error) {
	line, err = in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, true, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = in.ReadSlice('\n')
		if len(long)+len(line) > maxLine {
			long = nil
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			return nil, false, err
		}
		long = append(long, line...)
	}
	return long, true, err
}
