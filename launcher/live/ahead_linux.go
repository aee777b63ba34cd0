package live

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes in bytes: what is asked for at once, and how far ahead of who reads one thing after the other, at first and at most. Two round trips of 20 ms at 1 Gbit/s are 5 MB.
const (
	blockSize  = 128 << 10
	firstAhead = 2 * blockSize
	maxAhead   = 8 << 20
)

// maxKept bounds what all files together have read ahead, in bytes; beyond it nobody reads ahead.
const maxKept = 64 << 20

// maxAge is how long what was read ahead, or is known of a file, may be believed.
const maxAge = 100 * time.Millisecond

// ahead reads a file of the pod so far ahead of its reader that the link is never idle.
type ahead struct {
	fetch func(ctx context.Context, lane int, offset, length int64) ([]byte, error) // less than length is there only at the end
	state func() (size, version int64)                                              // of the file, as far as that is known; another version has other content
	kept  *atomic.Int64                                                             // of all files

	mu     sync.Mutex
	next   int64 // where a reader goes on who reads one thing after the other
	window int64 // how far ahead it is read
	blocks map[int64]*block
}

// block is the part of a file at a multiple of blockSize.
type block struct {
	done    chan struct{}
	data    []byte
	err     error
	version int64
	at      time.Time // when it was asked for
	drop    context.CancelFunc
}

// read returns up to length bytes at offset, less only at the end.
func (a *ahead) read(ctx context.Context, offset, length int64) ([]byte, error) {
	blocks, ok := a.plan(offset, length)
	if !ok {
		return a.fetch(ctx, 0, offset, length)
	}
	out := make([]byte, 0, length)
	for at, i := offset, 0; at < offset+length; i++ {
		b := blocks[i]
		select {
		case <-b.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if b.err != nil {
			return a.fetch(ctx, 0, offset, length)
		}
		from := at % blockSize
		if from >= int64(len(b.data)) {
			break
		}
		part := b.data[from:min(int64(len(b.data)), from+offset+length-at)]
		out = append(out, part...)
		at += int64(len(part))
		if len(b.data) < blockSize {
			break // the end
		}
	}
	return out, nil
}

// plan returns the blocks that hold a part of the file, and has those behind them read; false: whoever reads so jumps about.
func (a *ahead) plan(offset, length int64) ([]*block, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// What the kernel reads ahead itself does not come in its order.
	const near = 1 << 20
	if offset < a.next-near || offset > a.next+near {
		a.reset()
		a.next = offset + length
		return nil, false
	}
	if offset+length > a.next {
		a.next = offset + length
		a.window = min(max(firstAhead, 2*a.window), maxAhead)
	}
	if a.kept.Load() > maxKept {
		a.window = 0
	}
	size, version := a.state()
	first, last := offset/blockSize, (offset+length-1)/blockSize
	for i, b := range a.blocks {
		if i < first-near/blockSize {
			a.forget(i, b)
		}
	}
	var blocks []*block
	for i := first; i <= last; i++ {
		b := a.blocks[i]
		if b != nil && b.stale(version) {
			a.forget(i, b)
			b = nil
		}
		if b == nil {
			b = a.begin(i)
		}
		blocks = append(blocks, b)
	}
	until := min(a.next+a.window, size)
	for i := last + 1; i*blockSize < until; i++ {
		if a.blocks[i] == nil {
			a.begin(i)
		}
	}
	return blocks, true
}

// stale says of a block that has come whether it may not be used any more: the file has changed, or its end may have moved.
func (b *block) stale(version int64) bool {
	select {
	case <-b.done:
		return b.err != nil || (b.version != version || len(b.data) < blockSize) && time.Since(b.at) > maxAge
	default:
		return false
	}
}

func (a *ahead) begin(i int64) *block {
	ctx, cancel := context.WithCancel(context.Background())
	b := &block{done: make(chan struct{}), at: time.Now(), drop: cancel}
	if a.blocks == nil {
		a.blocks = map[int64]*block{}
	}
	a.blocks[i] = b
	a.kept.Add(blockSize)
	lane := 0
	if a.window == maxAhead {
		lane = int(i) % lanes
	}
	go func() {
		defer close(b.done)
		b.data, b.err = a.fetch(ctx, lane, i*blockSize, blockSize)
		_, b.version = a.state()
	}()
	return b
}

// forget is for whom has a.mu. Who waits for the block reads for himself then.
func (a *ahead) forget(i int64, b *block) {
	delete(a.blocks, i)
	a.kept.Add(-blockSize)
	b.drop()
}

func (a *ahead) reset() {
	for i, b := range a.blocks {
		a.forget(i, b)
	}
	a.window = 0
}

// changed forgets all that was read ahead.
func (a *ahead) changed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reset()
}
