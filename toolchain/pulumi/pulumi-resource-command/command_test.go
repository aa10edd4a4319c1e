// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

func TestCheckAddsNothingToTheInputs(t *testing.T) {
	for _, inputs := range []props{
		{},
		{"create": "true", "environment": props{"A": "b"}, "triggers": []any{"x", 1.0}, "logging": "none"},
		{"create": unknown, "stdin": secret("s")},
	} {
		checked, failures := serve(t).check(inputs)
		expect(t, checked, inputs)
		equal(t, len(failures), 0)
	}
}

func TestCheckNamesTheInputOfAWrongType(t *testing.T) {
	_, failures := serve(t).check(props{"create": []any{"echo"}})
	equal(t, len(failures), 1)
	equal(t, failures[0].GetProperty(), "create")
}

func TestCreateReturnsInputsAndResults(t *testing.T) {
	inputs := props{"create": "echo hello, $NAME; echo oops >&2", "environment": props{"NAME": "world"}}
	expect(t, serve(t).create(inputs), state(inputs, props{"stdout": "hello, world", "stderr": "oops"}))
}

func TestCreateWithoutCommandRunsNothing(t *testing.T) {
	inputs := props{"update": "echo update", "delete": "echo delete"}
	expect(t, serve(t).create(inputs), state(inputs, nil))
}

func TestIDIsTheNameAndEightRandomDigits(t *testing.T) {
	s := serve(t)
	ids := map[string]bool{}
	for range 3 {
		resp, err := s.tryCreate(&rpc.CreateRequest{}, props{})
		must(t, err)
		ids[resp.GetId()] = true
		if !regexp.MustCompile(`^thing[0-9a-f]{8}$`).MatchString(resp.GetId()) {
			t.Errorf("id %q", resp.GetId())
		}
	}
	equal(t, len(ids), 3)
}

func TestPreviewRunsNothing(t *testing.T) {
	s := serve(t)
	mark := filepath.Join(t.TempDir(), "mark")
	touch := func(name string) props { return props{name: "touch " + mark} }
	s.previewCreate(touch("create"))
	s.previewUpdate(state(nil, nil), touch("create"))
	s.previewUpdate(state(nil, nil), touch("update"))
	if _, err := os.Stat(mark); err == nil {
		t.Error("a preview ran its command")
	}
}

func TestPreviewOfCreateHasUnknownResults(t *testing.T) {
	for _, inputs := range []props{
		{"create": "echo"},
		{"create": "echo", "environment": unknown},
	} {
		expect(t, serve(t).previewCreate(inputs), state(inputs, props{"stdout": unknown, "stderr": unknown}))
	}
}

func TestPreviewOfUpdateHasUnknownResultsIfAnInputChanges(t *testing.T) {
	inputs := props{"create": "echo $A", "environment": props{"A": "a"}}
	old := state(inputs, props{"stdout": "a"})
	for _, change := range []props{
		{"create": "echo $A $A"},
		{"environment": props{"A": "b"}},
		{"environment": unknown},
	} {
		changed := with(inputs, change)
		expect(t, serve(t).previewUpdate(old, changed), state(changed, props{"stdout": unknown, "stderr": unknown}))
	}
	expect(t, serve(t).previewUpdate(old, inputs), old)
}

func TestUpdateFallsBackToCreateThenToTheOldResults(t *testing.T) {
	old := state(props{"create": "echo old"}, props{"stdout": "old", "stderr": "older"})
	for _, c := range []struct {
		inputs, results props
	}{
		{props{"create": "echo create", "update": "echo update"}, props{"stdout": "update"}},
		{props{"update": "echo update"}, props{"stdout": "update"}},
		{props{"create": "echo create"}, props{"stdout": "create"}},
		{props{"delete": "echo delete"}, props{"stdout": "old", "stderr": "older"}},
	} {
		expect(t, serve(t).update(old, c.inputs), state(c.inputs, c.results))
	}
}

func TestDiff(t *testing.T) {
	const (
		add           = rpc.PropertyDiff_ADD
		remove        = rpc.PropertyDiff_DELETE
		update        = rpc.PropertyDiff_UPDATE
		addReplace    = rpc.PropertyDiff_ADD_REPLACE
		removeReplace = rpc.PropertyDiff_DELETE_REPLACE
	)
	type kinds map[string]rpc.PropertyDiff_Kind
	one, two := []any{"one"}, []any{"two"}
	for name, c := range map[string]struct {
		old, new props
		want     kinds
	}{
		"nothing":         {props{"create": "a", "triggers": one}, props{"create": "a", "triggers": one}, kinds{}},
		"input changed":   {props{"create": "a"}, props{"create": "b"}, kinds{"create": update}},
		"input added":     {props{}, props{"stdin": "b"}, kinds{"stdin": add}},
		"input removed":   {props{"dir": "/"}, props{}, kinds{"dir": remove}},
		"triggers added":  {props{}, props{"triggers": one}, kinds{"triggers": addReplace}},
		"triggers gone":   {props{"triggers": one}, props{}, kinds{"triggers": removeReplace}},
		"trigger changed": {props{"triggers": one}, props{"triggers": two}, kinds{"triggers[0]": update}},
	} {
		t.Run(name, func(t *testing.T) {
			resp := serve(t).diff(c.old, c.new)
			got := kinds{}
			for path, d := range resp.GetDetailedDiff() {
				got[path] = d.GetKind()
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			equal(t, resp.GetChanges() == rpc.DiffResponse_DIFF_SOME, len(c.want) > 0)
			replaces := got["triggers"] == addReplace || got["triggers"] == removeReplace
			equal(t, slices.Contains(resp.GetReplaces(), "triggers"), replaces)
		})
	}
}

func TestDeleteRunsWithTheInputsAndResultsOfTheState(t *testing.T) {
	dir := t.TempDir()
	must(t, serve(t).delete(state(props{
		"delete":      "cat > left; echo $A $PULUMI_COMMAND_STDOUT $PULUMI_COMMAND_STDERR >> left",
		"dir":         dir,
		"environment": props{"A": "a"},
		"stdin":       "in\n",
	}, props{"stdout": "out", "stderr": "err"})))
	left, err := os.ReadFile(filepath.Join(dir, "left"))
	must(t, err)
	equal(t, string(left), "in\na out err\n")
}

func TestDeleteWithoutCommandRunsNothing(t *testing.T) {
	must(t, serve(t).delete(state(props{"create": "exit 1", "update": "exit 1", "dir": "/missing"}, nil)))
}

func TestDeleteFailsWithItsCommand(t *testing.T) {
	err := serve(t).delete(state(props{"delete": "echo no; exit 5"}, nil))
	equal(t, failure(t, err), "exit status 5: running \"echo no; exit 5\":\nno\n")
}

func TestReadReturnsTheState(t *testing.T) {
	s := serve(t)
	inputs := props{"create": "exit 1"}
	old := state(inputs, props{"stdout": "out"})
	resp, err := s.server.Read(t.Context(), &rpc.ReadRequest{
		Id: "id", Urn: urn, Properties: s.encode(old), Inputs: s.encode(inputs),
	})
	must(t, err)
	equal(t, resp.GetId(), "id")
	expect(t, s.decode(resp.GetProperties()), old)
	expect(t, s.decode(resp.GetInputs()), inputs)
}

func TestRunReturnsArgumentsAndResults(t *testing.T) {
	args := props{"command": "cat; echo $A >&2", "stdin": "in", "environment": props{"A": "a"}}
	expect(t, serve(t).run(args), state(args, props{"stdout": "in", "stderr": "a"}))
}

func TestRunFailsWithItsCommand(t *testing.T) {
	_, err := serve(t).tryRun(props{"command": "echo no; exit 5"})
	equal(t, failure(t, err), "exit status 5: running \"echo no; exit 5\":\nno\n")
}

func TestSecretInputsStaySecretAndResultsAreNot(t *testing.T) {
	inputs := props{"create": secret("cat; echo $A"), "stdin": secret("s"), "environment": props{"A": secret("a")}}
	// The engine sees a map with a secret value as a secret map.
	want := with(inputs, props{"stdout": "sa", "stderr": ""})
	expect(t, serve(t).create(inputs), want)
	expect(t, serve(t).update(state(nil, nil), inputs), want)
}

// with is a copy of base that the changes are made to.
func with(base, changes props) props {
	result := maps.Clone(base)
	maps.Copy(result, changes)
	return result
}
