// SPDX-License-Identifier: Apache-2.0

package local

import (
	"slices"
	"testing"
)

func TestDefaultInterpreterDependsOnTheSystem(t *testing.T) {
	for goos, want := range map[string][]string{
		"linux":   {"/bin/sh", "-c"},
		"darwin":  {"/bin/sh", "-c"},
		"windows": {"cmd", "/C"},
	} {
		if got := shell(goos); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", goos, got, want)
		}
	}
}
