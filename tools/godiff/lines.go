package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"sort"
	"strings"
	"syscall"
	"time"
)

// A line may have this many bytes.
const longestLine = 16 << 20

// lines are the commands that come in and the answers that go out.
type lines struct {
	in  *bufio.Reader
	out *bufio.Writer
}

// newLines reads standard input, after the bytes that a former life of this process has read already.
func newLines(already []byte) *lines {
	return &lines{
		in:  bufio.NewReaderSize(io.MultiReader(bytes.NewReader(already), os.Stdin), 1<<16),
		out: bufio.NewWriterSize(os.Stdout, 1<<16),
	}
}

// next is the next line that is not empty. It flushes the answers if it would have to wait.
func (l *lines) next() ([]byte, bool) {
	for {
		if l.in.Buffered() == 0 {
			l.out.Flush()
		}
		var line []byte
		for {
			part, err := l.in.ReadSlice('\n')
			line = append(line, part...)
			if err == nil || (err == io.EOF && len(line) > 0) {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) || len(line) > longestLine {
				l.out.Flush()
				if err != io.EOF {
					fatal("standard input cannot be read: %v", err)
				}
				return nil, false
			}
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, true
		}
	}
}

// unread is what has been read from standard input and not used. It flushes the answers.
func (l *lines) unread() []byte {
	l.out.Flush()
	rest, _ := l.in.Peek(l.in.Buffered())
	return append([]byte(nil), rest...)
}

func (l *lines) answer(answer any) {
	text, err := json.Marshal(answer)
	if err != nil {
		fatal("an answer cannot be written as JSON: %v", err)
	}
	l.out.Write(text)
	if err := l.out.WriteByte('\n'); err != nil {
		fatal("standard output cannot be written: %v", err)
	}
}

// refusal is the answer to a command that cannot be understood.
type refusal struct {
	Error string `json:"error"`
}

// serve answers commands until the input ends.
func serve(l *lines, handle handler) {
	for {
		line, more := l.next()
		if !more {
			return
		}
		var command map[string]json.RawMessage
		if err := json.Unmarshal(line, &command); err != nil || len(command) != 1 {
			l.answer(refusal{fmt.Sprintf("a command is one JSON object with one key, the name of the command; got %.100q", line)})
			continue
		}
		for name, argument := range command {
			answer, err := handle(name, argument)
			if err != nil {
				answer = refusal{name + ": " + err.Error()}
			}
			l.answer(answer)
		}
	}
}

// fatal ends the process because it cannot go on.
func fatal(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "godiff: "+format+"\n", arguments...)
	syscall.Exit(2)
}

// decode reads the fields of a command into the struct that into points to. Fields that it does not have are errors.
func decode(argument []byte, into any) error {
	if string(argument) == "null" {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(argument))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w; fields: %s", err, strings.Join(fields(into), ", "))
	}
	return nil
}

// fields are the names in JSON of the fields of the struct that value points to.
func fields(value any) []string {
	kind := reflect.TypeOf(value).Elem()
	if kind.Kind() != reflect.Struct {
		return []string{kind.String()}
	}
	var names []string
	for i := range kind.NumField() {
		if name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// unknownCommand lists what there is.
func unknownCommand[T any](known map[string]T) error {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	sort.Strings(names)
	return fmt.Errorf("no such command; commands: %s", strings.Join(names, ", "))
}

// milliseconds is a duration of a command.
type milliseconds float64

func (m *milliseconds) UnmarshalJSON(text []byte) error {
	var number float64
	if err := json.Unmarshal(text, &number); err != nil {
		return fmt.Errorf("milliseconds are a number, got %s", text)
	}
	if math.IsNaN(number) || number < 0 || number > 1e9 {
		return fmt.Errorf("milliseconds are 0 to 1e9, got %s", text)
	}
	*m = milliseconds(number)
	return nil
}

func (m milliseconds) duration() time.Duration {
	return time.Duration(math.Round(float64(m) * float64(time.Millisecond)))
}

// decodeDuration reads a command whose argument is a number of milliseconds, bare or as {"ms": number}.
func decodeDuration(argument []byte) (time.Duration, error) {
	var number milliseconds
	if len(argument) > 0 && argument[0] != '{' {
		if string(argument) == "null" {
			return 0, errors.New("the number of milliseconds is missing")
		}
		err := json.Unmarshal(argument, &number)
		return number.duration(), err
	}
	var in struct {
		MS *milliseconds `json:"ms"`
	}
	if err := decode(argument, &in); err != nil {
		return 0, err
	}
	if in.MS == nil {
		return 0, errors.New("the number of milliseconds is missing")
	}
	return in.MS.duration(), nil
}
