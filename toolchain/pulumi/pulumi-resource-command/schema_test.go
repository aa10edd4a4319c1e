// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/pulumi/pulumi/pkg/v3/codegen/schema"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
)

// types are the types of properties by name: "[]" is an array, "{}" a map.
type types map[string]string

// The properties of the official schema.
var (
	commonInputs = types{
		"addPreviousOutputInEnv": "boolean",
		"archivePaths":           "[]string",
		"assetPaths":             "[]string",
		"dir":                    "string",
		"environment":            "{}string",
		"interpreter":            "[]string",
		"logging":                "#/types/command:local:Logging",
		"stdin":                  "string",
	}
	commonOutputs = types{
		"archive": "pulumi.json#/Archive",
		"assets":  "{}pulumi.json#/Asset",
		"stderr":  "string",
		"stdout":  "string",
	}
	commandInputs = types{
		"create":   "string",
		"delete":   "string",
		"triggers": "[]pulumi.json#/Any",
		"update":   "string",
	}
	runInputs = types{"command": "string"}
)

func TestSchemaOfCommandIsTheOfficialOne(t *testing.T) {
	spec := packageSchema(t)
	equal(t, len(spec.Resources), 1)
	command := spec.Resources["command:local:Command"]
	expectTypes(t, command.InputProperties, commonInputs, commandInputs)
	expectTypes(t, command.Properties, commonInputs, commandInputs, commonOutputs)
	expectNames(t, command.RequiredInputs)
	expectNames(t, command.Required, "stderr", "stdout")
}

func TestSchemaReplacesOnTriggersOnly(t *testing.T) {
	command := packageSchema(t).Resources["command:local:Command"]
	for _, properties := range []map[string]schema.PropertySpec{command.InputProperties, command.Properties} {
		for name, property := range properties {
			if property.ReplaceOnChanges != (name == "triggers") {
				t.Errorf("replaceOnChanges of %s is %v", name, property.ReplaceOnChanges)
			}
		}
	}
}

func TestSchemaOfRunIsTheOfficialOne(t *testing.T) {
	spec := packageSchema(t)
	equal(t, len(spec.Functions), 1)
	run := spec.Functions["command:local:run"]
	expectTypes(t, run.Inputs.Properties, commonInputs, runInputs)
	expectTypes(t, run.ReturnType.ObjectTypeSpec.Properties, commonInputs, runInputs, commonOutputs)
	expectNames(t, run.Inputs.Required, "command")
	expectNames(t, run.ReturnType.ObjectTypeSpec.Required, "command", "stderr", "stdout")
}

func TestSchemaOfLoggingIsTheOfficialOne(t *testing.T) {
	spec := packageSchema(t)
	equal(t, len(spec.Types), 1)
	var values []string
	for _, value := range spec.Types["command:local:Logging"].Enum {
		values = append(values, value.Value.(string))
	}
	expectNames(t, values, "none", "stderr", "stdout", "stdoutAndStderr")
}

func TestVersionIsReportedWithoutV(t *testing.T) {
	defer func(old string) { Version = old }(Version)
	for _, Version = range []string{"7.8.9", "v7.8.9"} {
		info, err := serve(t).server.GetPluginInfo(t.Context(), &emptypb.Empty{})
		must(t, err)
		equal(t, info.GetVersion(), "7.8.9")
		equal(t, packageSchema(t).Version, "7.8.9")
	}
}

// packageSchema is the schema that the plugin serves.
func packageSchema(t *testing.T) (spec schema.PackageSpec) {
	t.Helper()
	resp, err := serve(t).server.GetSchema(t.Context(), &rpc.GetSchemaRequest{})
	must(t, err)
	must(t, json.Unmarshal([]byte(resp.GetSchema()), &spec))
	equal(t, spec.Name, "command")
	return spec
}

// expectTypes fails unless properties have the types of all of want.
func expectTypes(t *testing.T, properties map[string]schema.PropertySpec, want ...types) {
	t.Helper()
	got, all := types{}, types{}
	for name, property := range properties {
		got[name] = typeName(property.TypeSpec)
	}
	for _, some := range want {
		maps.Copy(all, some)
	}
	if !maps.Equal(got, all) {
		t.Errorf("got  %v\nwant %v", got, all)
	}
}

// typeName writes spec as in types.
func typeName(spec schema.TypeSpec) string {
	switch {
	case spec.Items != nil:
		return "[]" + typeName(*spec.Items)
	case spec.AdditionalProperties != nil:
		return "{}" + typeName(*spec.AdditionalProperties)
	case spec.Ref != "":
		return spec.Ref
	}
	return spec.Type
}

// expectNames fails unless got has the names of want, in any order.
func expectNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if got := slices.Sorted(slices.Values(got)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
