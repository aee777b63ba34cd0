package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var fileRequests = []*FileRequest{
	{Op: FileRead, ID: 1, Offset: 1 << 40, Length: MaxFileData},
	{Op: FileRead, How: 1, ID: 1<<32 - 1, Length: 5},
	{Op: FileWrite, ID: 2, Offset: 7, Data: []byte("hello")},
	{Op: FileWrite, ID: 3, Data: bytes.Repeat([]byte("x"), MaxFileData)},
	{Op: FileStat, ID: 4},
	{Op: FileSet, ID: 5, Data: AppendFileChange(nil, &FileChange{Set: SetSize | SetMtime, Mode: 0o640, UID: 1, GID: 2, Size: 3, Atime: -4, Mtime: 5})},
	{Op: FileSync, How: 1, ID: 6},
	{Op: FileAllocate, How: 3, ID: 7, Offset: 8, Length: 1 << 40},
	{Op: FileSeek, How: 4, ID: 8, Offset: 9},
	{Op: FileCancel, ID: 8},
}

var fileReplies = []*FileReply{
	{ID: 1, Data: []byte("hello"), Stat: entries[1].Stat},
	{ID: 2, Errno: "ENOSPC"},
	{ID: 3, Errno: "EINTR", Offset: 1 << 40, Stat: &Stat{}},
	{},
}

func TestFileFrames(t *testing.T) {
	var b []byte
	for _, r := range fileRequests {
		b = AppendFileRequest(b, r)
	}
	in := bytes.NewReader(b)
	for _, want := range fileRequests {
		got, err := ReadFileRequest(in)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
	if _, err := ReadFileRequest(in); err != io.EOF {
		t.Error(err)
	}
	b = nil
	for _, r := range fileReplies {
		b = AppendFileReply(b, r)
	}
	in = bytes.NewReader(b)
	for _, want := range fileReplies {
		got, err := ReadFileReply(in)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v (-want +got):\n%s", err, diff)
		}
	}
	if _, err := ReadFileReply(in); err != io.EOF {
		t.Error(err)
	}
	want := &FileChange{Set: SetAtime | SetAtimeNow, Mode: 1, UID: 2, GID: 3, Size: 4, Atime: -5, Mtime: 6}
	if diff := cmp.Diff(want, ReadFileChange(AppendFileChange(nil, want))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the protocol does not allow is refused, and what ends early is no frame.
func TestFileFramesHostile(t *testing.T) {
	bad := func(r FileRequest) []byte { return AppendFileRequest(nil, &r) }
	large := bad(FileRequest{Op: FileWrite})
	large[26] = 0x20 // 2 MiB are announced
	for name, in := range map[string][]byte{
		"no operation": bad(FileRequest{}), "an unknown one": bad(FileRequest{Op: 99}), "a negative offset": bad(FileRequest{Op: FileRead, Offset: -1}),
		"a negative length": bad(FileRequest{Op: FileRead, Length: -1}), "a long read": bad(FileRequest{Op: FileRead, Length: MaxFileData + 1}),
		"data to read": bad(FileRequest{Op: FileRead, Data: []byte("x")}), "a short change": bad(FileRequest{Op: FileSet, Data: []byte("x")}), "too much": large,
	} {
		if r, err := ReadFileRequest(bytes.NewReader(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	reply := AppendFileReply(nil, &FileReply{})
	for at, b := range map[int]byte{4: 65, 5: 2, 6: 1, 18: 0x20} {
		in := bytes.Clone(reply)
		in[at] = b
		if r, err := ReadFileReply(bytes.NewReader(in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d at %d: %+v, %v", b, at, r, err)
		}
	}
	whole := AppendFileRequest(nil, fileRequests[2])
	for n := 1; n < len(whole); n++ {
		if _, err := ReadFileRequest(bytes.NewReader(whole[:n])); err != io.ErrUnexpectedEOF {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	whole = AppendFileReply(nil, fileReplies[0])
	for n := 1; n < len(whole); n++ {
		if _, err := ReadFileReply(bytes.NewReader(whole[:n])); err != io.ErrUnexpectedEOF {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// FuzzFileFrames: whatever comes, what was read is written as what reads as the same.
func FuzzFileFrames(f *testing.F) {
	for _, r := range fileRequests {
		f.Add(AppendFileRequest(nil, r)[:min(200, fileRequestSize+len(r.Data))])
	}
	for _, r := range fileReplies {
		f.Add(AppendFileReply(nil, r))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, err := ReadFileRequest(bytes.NewReader(in)); err == nil && !bytes.HasPrefix(in, AppendFileRequest(nil, r)) {
			t.Errorf("request %+v", r)
		}
		if r, err := ReadFileReply(bytes.NewReader(in)); err == nil {
			again, err := ReadFileReply(bytes.NewReader(AppendFileReply(nil, r)))
			if diff := cmp.Diff(r, again); diff != "" || err != nil {
				t.Errorf("%v (-first +again):\n%s", err, diff)
			}
		}
	})
}
