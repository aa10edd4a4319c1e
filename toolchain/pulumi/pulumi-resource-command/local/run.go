// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
)

// Run is a function that runs a command each time it is called, in previews
// too.
type Run struct{}

var _ infer.Fn[RunInputs, RunOutputs] = (*Run)(nil)

// RunInputs are the arguments of Run.
type RunInputs struct {
	Command string `pulumi:"command"`
	Inputs
}

// RunOutputs are the result of Run: its arguments and what the command gave.
type RunOutputs struct {
	RunInputs
	Outputs
}

// Invoke runs the command.
func (*Run) Invoke(
	ctx context.Context, req infer.FunctionRequest[RunInputs],
) (infer.FunctionResponse[RunOutputs], error) {
	result := RunOutputs{RunInputs: req.Input}
	err := run(ctx, result.Command, result.Inputs, &result.Outputs)
	return infer.FunctionResponse[RunOutputs]{Output: result}, err
}

// Annotate describes the function in the schema.
func (r *Run) Annotate(a infer.Annotator) {
	a.Describe(&r, "Runs a local command on every call, in previews too. "+
		"Use `local.Command` for a command that is tied to the life cycle of a resource.")
}

// Annotate describes the arguments in the schema.
func (r *RunInputs) Annotate(a infer.Annotator) {
	a.Describe(&r.Command, "The command to run.")
}
