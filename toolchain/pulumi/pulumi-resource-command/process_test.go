// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
)

func TestOneTrailingNewlineIsTrimmed(t *testing.T) {
	for printed, want := range map[string]string{
		"":           "",
		"a":          "a",
		`a\n`:        "a",
		`a\n\n`:      "a\n",
		`\n`:         "",
		`\na \t\r\n`: "\na \t\r",
	} {
		got := serve(t).run(props{"command": "printf '" + printed + "'; printf '" + printed + "' >&2"})
		expect(t, props{"stdout": got["stdout"], "stderr": got["stderr"]}, props{"stdout": want, "stderr": want})
	}
}

func TestEnvironmentAddsToThatOfThePlugin(t *testing.T) {
	t.Setenv("INHERITED", "inherited")
	t.Setenv("REPLACED", "before")
	got := serve(t).run(props{
		"command":     `printf "$INHERITED $REPLACED $ADDED"`,
		"environment": props{"REPLACED": "after", "ADDED": "a=b c"},
	})
	expect(t, props{"": got["stdout"]}, props{"": "inherited after a=b c"})
}

func TestPreviousOutputsAreInTheEnvironment(t *testing.T) {
	previous := props{"stdout": "out", "stderr": "err"}
	for name, c := range map[string]struct {
		previous, inputs props
		want             string
	}{
		"by default":           {previous, props{}, "out err"},
		"if wanted":            {previous, props{"addPreviousOutputInEnv": true}, "out err"},
		"not if unwanted":      {previous, props{"addPreviousOutputInEnv": false}, "unset unset"},
		"not if empty":         {props{}, props{}, "unset unset"},
		"before the variables": {previous, props{"environment": props{"PULUMI_COMMAND_STDOUT": "mine"}}, "out err"},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := with(c.inputs, props{
				"create": `echo "${PULUMI_COMMAND_STDOUT-unset} ${PULUMI_COMMAND_STDERR-unset}"`,
			})
			expect(t, serve(t).update(state(nil, c.previous), inputs), state(inputs, props{"stdout": c.want}))
		})
	}
}

func TestStdinIsEmptyByDefault(t *testing.T) {
	for _, c := range []struct {
		inputs props
		want   string
	}{
		{props{}, "."},
		{props{"stdin": ""}, "."},
		{props{"stdin": "a\nb"}, "a\nb."},
	} {
		inputs := with(c.inputs, props{"create": "cat; echo ."})
		expect(t, serve(t).create(inputs), state(inputs, props{"stdout": c.want}))
	}
}

func TestStdinNeedNotBeRead(t *testing.T) {
	inputs := props{"create": "echo done", "stdin": strings.Repeat("x", 1<<20)}
	expect(t, serve(t).create(inputs), state(inputs, props{"stdout": "done"}))
}

func TestDirIsThatOfThePluginByDefault(t *testing.T) {
	own, given := realDir(t), realDir(t)
	t.Chdir(own)
	for _, c := range []struct {
		inputs props
		want   string
	}{
		{props{}, own},
		{props{"dir": given}, given},
	} {
		inputs := with(c.inputs, props{"create": "/bin/pwd"})
		expect(t, serve(t).create(inputs), state(inputs, props{"stdout": c.want}))
	}
}

func TestDirMustExist(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	equal(t, serve(t).createError(props{"create": "pwd", "dir": missing}),
		"chdir "+missing+": no such file or directory: running \"pwd\":\n")
}

func TestInterpreterTakesTheCommandAsLastArgument(t *testing.T) {
	for name, c := range map[string]struct {
		inputs props
		want   string
	}{
		"default":       {props{}, "/bin/sh"},
		"empty":         {props{"interpreter": []any{}}, "/bin/sh"},
		"one word":      {props{"interpreter": []any{"echo"}}, "echo $0"},
		"several words": {props{"interpreter": []any{"echo", "-n", "a  b"}}, "a  b echo $0"},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := with(c.inputs, props{"create": "echo $0"})
			expect(t, serve(t).create(inputs), state(inputs, props{"stdout": c.want}))
		})
	}
}

func TestErrorsTellTheEndTheCommandAndWhatItPrinted(t *testing.T) {
	for name, c := range map[string]struct {
		inputs props
		want   string
	}{
		"stdout": {
			props{"create": "echo out; exit 3"},
			"exit status 3: running \"echo out; exit 3\":\nout\n",
		},
		"stderr": {
			props{"create": "echo err >&2; exit 3"},
			"exit status 3: running \"echo err >&2; exit 3\":\nerr\n",
		},
		"logging does not matter": {
			props{"create": "printf out; exit 3", "logging": "none"},
			"exit status 3: running \"printf out; exit 3\":\nout",
		},
		"signal": {
			props{"create": "kill -9 $$"},
			"signal: killed: running \"kill -9 $$\":\n",
		},
		"no interpreter": {
			props{"create": "true", "interpreter": []any{"/missing"}},
			"fork/exec /missing: no such file or directory: running \"true\":\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			equal(t, serve(t).createError(c.inputs), c.want)
		})
	}
}

func TestErrorsHoldBothStreams(t *testing.T) {
	message := serve(t).createError(props{"create": "echo out; echo err >&2; exit 3"})
	_, printed, _ := strings.Cut(message, ":\n")
	expectNames(t, strings.Fields(printed), "err", "out")
}

func TestLoggingSelectsStreams(t *testing.T) {
	for name, c := range map[string]struct {
		inputs props
		want   []string
	}{
		"default": {props{}, []string{"err", "out"}},
		"both":    {props{"logging": "stdoutAndStderr"}, []string{"err", "out"}},
		"stdout":  {props{"logging": "stdout"}, []string{"out"}},
		"stderr":  {props{"logging": "stderr"}, []string{"err"}},
		"none":    {props{"logging": "none"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			inputs := with(c.inputs, props{"create": "echo out; echo err >&2"})
			expect(t, s.create(inputs), state(inputs, props{"stdout": "out", "stderr": "err"}))
			expectNames(t, s.engine.logged(), c.want...)
		})
	}
}

func TestLogsAreLines(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for stdin, want := range map[string][]string{
		"":              nil,
		"a":             {"a"},
		"a\n":           {"a"},
		"a\n\nb":        {"a", "", "b"},
		"a\r\nb\r":      {"a", "b"},
		long + "\nlast": {long, "last"},
	} {
		s := serve(t)
		s.run(props{"command": "cat", "stdin": stdin})
		if got := s.engine.logged(); !reflect.DeepEqual(got, want) {
			t.Errorf("%.20q: got %.20q, want %.20q", stdin, got, want)
		}
	}
}

func TestLogsAreStatusMessagesOfTheResource(t *testing.T) {
	s := serve(t)
	s.create(props{"create": "echo err >&2"})
	equal(t, len(s.engine.logs), 1)
	equal(t, s.engine.logs[0].GetUrn(), urn)
	equal(t, s.engine.logs[0].GetSeverity(), rpc.LogSeverity_INFO)
	equal(t, s.engine.logs[0].GetEphemeral(), true)
}

func TestLogsComeWhileTheCommandRuns(t *testing.T) {
	s := serve(t)
	dir := t.TempDir()
	// The command waits for the answer to its first line.
	s.engine.onLog = func(req *rpc.LogRequest) {
		if req.GetMessage() == "question" {
			go os.WriteFile(filepath.Join(dir, "answer"), []byte("yes"), 0o600)
		}
	}
	inputs := props{"create": "mkfifo answer; echo question; cat answer", "dir": dir}
	expect(t, s.create(inputs), state(inputs, props{"stdout": "question\nyes"}))
}

func TestCancelKillsTheCommand(t *testing.T) {
	s := serve(t)
	s.engine.onLog = func(*rpc.LogRequest) {
		go s.server.Cancel(t.Context(), &emptypb.Empty{})
	}
	const command = "echo started; exec sleep 60"
	equal(t, s.createError(props{"create": command}),
		"signal: killed: running \""+command+"\":\nstarted\n")
}

// realDir is a new directory, by its path without symbolic links.
func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	return dir
}
