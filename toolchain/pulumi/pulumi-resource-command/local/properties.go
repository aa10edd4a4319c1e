// SPDX-License-Identifier: Apache-2.0

package local

import (
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Inputs say how a command is run and what is kept of it. The resource and the
// function share them.
type Inputs struct {
	Stdin                  *string            `pulumi:"stdin,optional"`
	Logging                *Logging           `pulumi:"logging,optional"`
	Interpreter            *[]string          `pulumi:"interpreter,optional"`
	Dir                    *string            `pulumi:"dir,optional"`
	Environment            *map[string]string `pulumi:"environment,optional"`
	AssetPaths             *[]string          `pulumi:"assetPaths,optional"`
	ArchivePaths           *[]string          `pulumi:"archivePaths,optional"`
	AddPreviousOutputInEnv *bool              `pulumi:"addPreviousOutputInEnv,optional"`
}

// Outputs are what is kept of a command.
type Outputs struct {
	Stdout  string                            `pulumi:"stdout"`
	Stderr  string                            `pulumi:"stderr"`
	Assets  *map[string]*types.AssetOrArchive `pulumi:"assets,optional"`
	Archive *resource.Archive                 `pulumi:"archive,optional"`
}

// globRules is the part of a description that assetPaths and archivePaths
// have in common.
const globRules = "The globs match the slash-separated paths of files, relative to `dir`. " +
	"`*` stops at a slash, `**` does not. A glob that starts with `!` excludes what it matches; " +
	"the last glob that matches a file decides."

// Annotate describes the inputs in the schema.
func (in *Inputs) Annotate(a infer.Annotator) {
	a.Describe(&in.Stdin, "The text that the command reads from its standard input. Defaults to nothing.")
	a.Describe(&in.Logging, "Which streams of the command are logged. Defaults to both. "+
		"The outputs hold both streams in any case.")
	a.Describe(&in.Interpreter, "The program and its arguments that the command is passed to as "+
		"the last argument. Defaults to `/bin/sh -c`, on Windows to `cmd /C`.")
	a.Describe(&in.Dir, "The directory the command runs in, which must exist. "+
		"Defaults to that of the Pulumi program.")
	a.Describe(&in.Environment, "Variables that are added to the command's environment.")
	a.Describe(&in.AssetPaths, "Globs of the files to return as assets after the command. "+globRules)
	a.Describe(&in.ArchivePaths, "Globs of the files to return as one archive after the command. "+globRules)
	a.Describe(&in.AddPreviousOutputInEnv, "Whether the command finds the outputs of the previous one "+
		"in PULUMI_COMMAND_STDOUT and PULUMI_COMMAND_STDERR. Defaults to true.")
}

// Annotate describes the outputs in the schema.
func (out *Outputs) Annotate(a infer.Annotator) {
	a.Describe(&out.Stdout, "What the command printed on its standard output, without the last newline.")
	a.Describe(&out.Stderr, "What the command printed on its standard error, without the last newline.")
	a.Describe(&out.Assets, "The files that `assetPaths` selects, by their path relative to `dir`.")
	a.Describe(&out.Archive, "The files that `archivePaths` selects.")
}

// Logging selects the streams of a command that are logged.
type Logging string

// The values of Logging. Its absence means LogStdoutAndStderr.
const (
	LogStdout          Logging = "stdout"
	LogStderr          Logging = "stderr"
	LogStdoutAndStderr Logging = "stdoutAndStderr"
	LogNone            Logging = "none"
)

// Values lists the values of Logging for the schema.
func (Logging) Values() []infer.EnumValue[Logging] {
	value := func(l Logging, description string) infer.EnumValue[Logging] {
		return infer.EnumValue[Logging]{Name: string(l), Value: l, Description: description}
	}
	return []infer.EnumValue[Logging]{
		value(LogStdout, "Log the standard output only"),
		value(LogStderr, "Log the standard error only"),
		value(LogStdoutAndStderr, "Log both streams"),
		value(LogNone, "Log nothing"),
	}
}

// includes says whether stream, LogStdout or LogStderr, is logged.
func (l *Logging) includes(stream Logging) bool {
	return l == nil || *l == stream || *l == LogStdoutAndStderr
}
