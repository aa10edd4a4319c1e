// SPDX-License-Identifier: Apache-2.0

// Package v2 registers objects of YAML documents.
package v2

import (
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// object is a resource of any kind; what is known of it stays in the engine.
type object struct{ pulumi.CustomResourceState }

// RegisterResource registers an object under the type token of its kind.
func RegisterResource(ctx *pulumi.Context, apiVersion, kind, name string, props pulumi.Input,
	opts ...pulumi.ResourceOption,
) (pulumi.CustomResource, error) {
	if !strings.Contains(apiVersion, "/") {
		apiVersion = "core/" + apiVersion
	}
	made := &object{}
	if err := ctx.RegisterResource("kubernetes:"+apiVersion+":"+kind, name, props, made, opts...); err != nil {
		return nil, err
	}
	return made, nil
}
