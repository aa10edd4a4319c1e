// SPDX-License-Identifier: Apache-2.0

// Command pulumi-resource-command is a Pulumi resource plugin that runs
// commands on the machine of the Pulumi program. It serves the `local` part of
// the official command package v1.2.1.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi-go-provider/middleware/schema"

	"toolchain/pulumi/pulumi-resource-command/local"
)

// packageName is the first part of every token that the plugin serves.
const packageName = "command"

// Version is what the plugin reports to the engine, with or without a leading
// "v". A release sets it with -ldflags "-X main.Version=...".
var Version = "1.2.1-dev"

func main() {
	if err := newProvider().Run(context.Background(), packageName, semver()); err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-command:", err)
		os.Exit(1)
	}
}

// semver is Version without the "v" that tags have and the engine refuses.
func semver() string {
	return strings.TrimPrefix(Version, "v")
}

// newProvider lists what the plugin serves.
func newProvider() p.Provider {
	return infer.Provider(infer.Options{
		Metadata: schema.Metadata{
			DisplayName: "Command",
			Description: "Run local commands as part of the Pulumi resource model.",
			License:     "Apache-2.0",
		},
		Resources: []infer.InferredResource{infer.Resource(&local.Command{})},
		Functions: []infer.InferredFunction{infer.Function(&local.Run{})},
	})
}
