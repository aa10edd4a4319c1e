// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
)

// run runs command and waits for its end. The end of ctx kills it.
//
// On entry out holds the results of the previous command, on success those of
// this one. The error of a command that fails says how it ended, which command
// it was and all that it printed.
func run(ctx context.Context, command string, in Inputs, out *Outputs) error {
	cmd, err := newProcess(ctx, command, in, *out)
	if err != nil {
		return err
	}
	printed := newTranscript(in.Logging, p.GetLogger(ctx).InfoStatus)
	cmd.Stdout, cmd.Stderr = &printed.stdout, &printed.stderr
	err = cmd.Run()
	printed.close()
	if err != nil {
		return fmt.Errorf("%w: running %q:\n%s", err, command, printed)
	}
	out.Stdout, out.Stderr = printed.stdout.text(), printed.stderr.text()
	return out.collect(cmd.Dir, in)
}

// newProcess prepares the process of command.
func newProcess(ctx context.Context, command string, in Inputs, previous Outputs) (*exec.Cmd, error) {
	dir, err := in.directory()
	if err != nil {
		return nil, err
	}
	argv := append(in.interpreter(), command)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = in.environ(previous)
	if in.Stdin != nil {
		cmd.Stdin = strings.NewReader(*in.Stdin)
	}
	return cmd, nil
}

// directory is where the command runs: by default where the plugin does, which
// the engine starts in the directory of the Pulumi program.
func (in Inputs) directory() (string, error) {
	if in.Dir != nil {
		return *in.Dir, nil
	}
	return os.Getwd()
}

// interpreter is the program, with its arguments, that takes the command as
// its last argument.
func (in Inputs) interpreter() []string {
	if in.Interpreter != nil && len(*in.Interpreter) > 0 {
		return slices.Clone(*in.Interpreter)
	}
	return shell(runtime.GOOS)
}

// shell is the default interpreter on the operating system goos.
func shell(goos string) []string {
	if goos == "windows" {
		return []string{"cmd", "/C"}
	}
	return []string{"/bin/sh", "-c"}
}

// environ is the environment of the command: that of the plugin, then the
// variables of in, then the outputs of the previous command. What comes later
// wins, and an empty output is left out.
func (in Inputs) environ(previous Outputs) []string {
	env := os.Environ()
	if in.Environment != nil {
		for name, value := range *in.Environment {
			env = append(env, name+"="+value)
		}
	}
	if in.AddPreviousOutputInEnv != nil && !*in.AddPreviousOutputInEnv {
		return env
	}
	if previous.Stdout != "" {
		env = append(env, "PULUMI_COMMAND_STDOUT="+previous.Stdout)
	}
	if previous.Stderr != "" {
		env = append(env, "PULUMI_COMMAND_STDERR="+previous.Stderr)
	}
	return env
}
