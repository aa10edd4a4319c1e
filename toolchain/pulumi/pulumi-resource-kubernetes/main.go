// SPDX-License-Identifier: Apache-2.0

// Command pulumi-resource-kubernetes is the Kubernetes resource plugin, built
// from its Go module alone.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

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
	alive, err := usePrivateTemp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-kubernetes:", err)
		os.Exit(1)
	}
	defer alive.Close()
	none := []byte("{}")
	provider.Serve("kubernetes", version.Version, none, none)
}

// usePrivateTemp gives the plugin a temporary folder that goes away with it,
// which is when the returned file is closed.
//
// The provider writes the kubeconfig, credentials included, to a temporary
// file for Helm and leaves it there. The engine ends plugins and all of their
// process group with SIGKILL, so a shell in a session of its own waits for the
// end of the pipe and removes the folder.
func usePrivateTemp() (*os.File, error) {
	dir, err := os.MkdirTemp("", "pulumi-resource-kubernetes-")
	if err != nil {
		return nil, err
	}
	end, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cleaner := exec.Command("/bin/sh", "-c", `read -r _; rm -rf "$1"`, "sh", dir)
	cleaner.Stdin = end
	cleaner.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cleaner.Start(); err != nil {
		return nil, err
	}
	return alive, os.Setenv("TMPDIR", dir)
}
