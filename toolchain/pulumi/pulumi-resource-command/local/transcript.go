// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"strings"
	"sync"
)

// transcript keeps what a process prints: each stream by itself, and both in
// the order in which they came. It logs the streams that it is told to, line
// by line, as they come.
type transcript struct {
	stdout, stderr stream
	both           sharedBuffer
}

// newTranscript returns a transcript that passes the lines of the streams in
// logging to log, which both streams may call at the same time.
func newTranscript(logging *Logging, log func(line string)) *transcript {
	t := new(transcript)
	t.stdout.both, t.stderr.both = &t.both, &t.both
	if logging.includes(LogStdout) {
		t.stdout.lines.log = log
	}
	if logging.includes(LogStderr) {
		t.stderr.lines.log = log
	}
	return t
}

// close ends both streams.
func (t *transcript) close() {
	t.stdout.lines.close()
	t.stderr.lines.close()
}

// String is all that was printed, both streams together.
func (t *transcript) String() string {
	return t.both.String()
}

// stream is one output stream of a process.
type stream struct {
	own   bytes.Buffer
	both  *sharedBuffer
	lines lineLogger
}

// Write keeps data and logs the lines that it completes.
func (s *stream) Write(data []byte) (int, error) {
	s.own.Write(data)
	s.both.Write(data)
	s.lines.add(data)
	return len(data), nil
}

// text is what was printed, without one last newline.
func (s *stream) text() string {
	return strings.TrimSuffix(s.own.String(), "\n")
}

// sharedBuffer is a buffer that both streams write to at the same time.
type sharedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

// Write appends data as one piece.
func (b *sharedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(data)
}

// lineLogger cuts what it is given into lines, however it comes in pieces. It
// does nothing without log.
type lineLogger struct {
	log  func(line string)
	rest []byte
}

// add logs the lines that data completes.
func (l *lineLogger) add(data []byte) {
	if l.log == nil {
		return
	}
	l.rest = append(l.rest, data...)
	for {
		line, rest, complete := bytes.Cut(l.rest, []byte("\n"))
		if !complete {
			return
		}
		l.log(string(bytes.TrimSuffix(line, []byte("\r"))))
		l.rest = rest
	}
}

// close logs the last line if it has no newline.
func (l *lineLogger) close() {
	if len(l.rest) > 0 {
		l.add([]byte("\n"))
	}
}
