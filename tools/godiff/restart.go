package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cni-metrics-helper/tools/godiff/before"
)

// stateVariable names the file descriptor from which a process continues a history.
const stateVariable = "GODIFF_STATE_FD"

// inherited is what one life's process hands to the next one's.
type inherited struct {
	World   *world                     `json:"world"`
	Number  int                        `json:"number"`
	Began   time.Time                  `json:"began"`
	Now     int64                      `json:"now_us"`
	Down    milliseconds               `json:"down_ms"`
	Unread  []byte                     `json:"unread"`
	ENIs    map[string]json.RawMessage `json:"enis"`
	Metrics map[string]float64         `json:"metrics"`
}

func (n *nodeLevel) restart(argument []byte) error {
	var in struct {
		Settings map[string]*string `json:"settings"`
		Down     milliseconds       `json:"down_ms"`
	}
	if err := decode(argument, &in); err != nil {
		return err
	}
	given := map[string]string{}
	for name, value := range in.Settings {
		if value != nil {
			given[name] = *value
		}
	}
	if err := unsupported(given, n.world.Kube.Node); err != nil {
		return err
	}
	n.world.Lock()
	for name, value := range in.Settings {
		if value == nil {
			delete(n.world.Settings, name)
		} else {
			n.world.Settings[name] = *value
		}
	}
	for _, cut := range n.world.Log.flying {
		ended := *cut
		ended.End, ended.Error = now(), &callError{Text: "the process ended", Fate: fateCut}
		n.world.Log.Calls = append(n.world.Log.Calls, ended)
	}
	state := inherited{World: n.world, Number: n.life.number + 1, Began: began, Now: now(), Down: in.Down, Unread: n.lines.unread(), ENIs: map[string]json.RawMessage{}, Metrics: n.metrics.shown}
	for id, text := range n.view.shown {
		state.ENIs[id] = text
	}
	return execute(state)
}

// execute replaces this process by one that continues with the state. It returns only if that fails.
func execute(state inherited) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	descriptor, err := unix.MemfdCreate("godiff", 0) // without close-on-exec
	if err != nil {
		return fmt.Errorf("no memory file for the state: %w", err)
	}
	file := os.NewFile(uintptr(descriptor), "state")
	if _, err := file.Write(text); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	environment := append(slices.Clone(before.Environment), stateVariable+"="+strconv.Itoa(descriptor))
	return syscall.Exec("/proc/self/exe", []string{"godiff", "node"}, environment)
}

// resume continues the history of a former process if there is one, and answers its last command. It gives the lines.
func (n *nodeLevel) resume() *lines {
	number := os.Getenv(stateVariable)
	if number == "" {
		return newLines(nil)
	}
	before.Environment = slices.DeleteFunc(before.Environment, func(one string) bool { return one == stateVariable+"="+number })
	os.Unsetenv(stateVariable)
	descriptor, err := strconv.Atoi(number)
	if err != nil {
		fatal("%s is no file descriptor: %q", stateVariable, number)
	}
	file := os.NewFile(uintptr(descriptor), "state")
	text, err := io.ReadAll(file)
	file.Close()
	var state inherited
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		fatal("the state of the former life cannot be read: %v", err)
	}
	began = state.Began
	time.Sleep(time.Until(began.Add(time.Duration(state.Now)*time.Microsecond + state.Down.duration())))
	n.world, n.metrics.shown = state.World, state.Metrics
	n.view.shown = map[string][]byte{}
	for id, one := range state.ENIs {
		n.view.shown[id] = one
	}
	n.world.seed(int64(state.Number))
	if n.world.Kube.TrunkDue > 0 {
		go n.world.attachTrunk()
	}
	n.life = n.world.begin(state.Number)
	lines := newLines(state.Unread)
	lines.answer(n.answer())
	return lines
}
