// SPDX-License-Identifier: Apache-2.0

// Command pulumi-resource-kubernetes is the Kubernetes resource plugin, built
// from its Go module alone.
package main

import (
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

// main serves the plugin without its package schema and Terraform mapping,
// which the upstream build generates and the module does not contain.
//
// They only serve GetSchema and GetMapping, with one exception: Read takes the
// names of inputs from the schema if it knows no earlier ones, so that an
// imported resource comes back with incomplete inputs. Nothing else uses them.
func main() {
	none := []byte("{}")
	provider.Serve("kubernetes", version.Version, none, none)
}
