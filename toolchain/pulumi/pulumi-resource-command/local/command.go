// SPDX-License-Identifier: Apache-2.0

// Package local implements the `local` module of the command package: the
// resource command:local:Command and the function command:local:run.
package local

import (
	"cmp"
	"context"

	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Command is a resource whose life cycle steps are shell commands.
type Command struct{}

var (
	_ infer.CustomResource[CommandInputs, CommandOutputs] = (*Command)(nil)
	_ infer.CustomUpdate[CommandInputs, CommandOutputs]   = (*Command)(nil)
	_ infer.CustomDelete[CommandOutputs]                  = (*Command)(nil)
)

// CommandInputs are the arguments of a Command.
type CommandInputs struct {
	Triggers *[]any  `pulumi:"triggers,optional" provider:"replaceOnChanges"`
	Create   *string `pulumi:"create,optional"`
	Update   *string `pulumi:"update,optional"`
	Delete   *string `pulumi:"delete,optional"`
	Inputs
}

// CommandOutputs are the state of a Command: its inputs and the results of the
// last create or update.
type CommandOutputs struct {
	CommandInputs
	Outputs
}

// Create runs the create command, if there is one. A preview runs nothing.
func (*Command) Create(
	ctx context.Context, req infer.CreateRequest[CommandInputs],
) (infer.CreateResponse[CommandOutputs], error) {
	state := CommandOutputs{CommandInputs: req.Inputs}
	id, err := resource.NewUniqueHex(req.Name, 8, 0)
	if err == nil && !req.DryRun {
		err = state.execute(ctx, state.Create)
	}
	return infer.CreateResponse[CommandOutputs]{ID: id, Output: state}, err
}

// Update runs the update command, or else the create command, with the new
// inputs. A preview runs nothing; what is not run leaves the old results.
func (*Command) Update(
	ctx context.Context, req infer.UpdateRequest[CommandInputs, CommandOutputs],
) (infer.UpdateResponse[CommandOutputs], error) {
	state := CommandOutputs{CommandInputs: req.Inputs, Outputs: req.State.Outputs}
	var err error
	if !req.DryRun {
		err = state.execute(ctx, cmp.Or(state.Update, state.Create))
	}
	return infer.UpdateResponse[CommandOutputs]{Output: state}, err
}

// Delete runs the delete command of the state, if it has one.
func (*Command) Delete(
	ctx context.Context, req infer.DeleteRequest[CommandOutputs],
) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, req.State.execute(ctx, req.State.Delete)
}

// execute runs command with the inputs of s and puts the results in s. It does
// nothing without a command.
func (s *CommandOutputs) execute(ctx context.Context, command *string) error {
	if command == nil {
		return nil
	}
	return run(ctx, *command, s.Inputs, &s.Outputs)
}

// Annotate describes the resource in the schema.
func (c *Command) Annotate(a infer.Annotator) {
	a.Describe(&c, "Runs local commands when the resource is created, updated and deleted. "+
		"A step fails if its command ends with a non-zero exit code.")
}

// Annotate describes the inputs in the schema.
func (c *CommandInputs) Annotate(a infer.Annotator) {
	a.Describe(&c.Triggers, "Values of any type; the resource is replaced when one of them changes.")
	a.Describe(&c.Create, "The command that creates the resource.")
	a.Describe(&c.Update, "The command that updates the resource when its inputs change. "+
		"Defaults to `create`.")
	a.Describe(&c.Delete, "The command that deletes the resource. Without it nothing runs on deletion.")
}
