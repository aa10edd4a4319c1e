// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// makeTree is a command that makes the files that the tests look for.
const makeTree = "mkdir -p assets/logos src/deep empty && touch top.txt .hidden " +
	"assets/logos/logo.svg src/index.js src/secret.js src/deep/more.js"

func TestGlobs(t *testing.T) {
	for name, c := range map[string]struct {
		globs []any
		want  []string
	}{
		"none":                        {[]any{}, nil},
		"no match":                    {[]any{"*.pdf"}, nil},
		"a name":                      {[]any{"top.txt"}, []string{"top.txt"}},
		"a path":                      {[]any{"src/index.js"}, []string{"src/index.js"}},
		"no directories":              {[]any{"empty", "src"}, nil},
		"no leading dot slash":        {[]any{"./top.txt"}, nil},
		"* stops at slashes":          {[]any{"*"}, []string{".hidden", "top.txt"}},
		"* in a directory":            {[]any{"src/*.js"}, []string{"src/index.js", "src/secret.js"}},
		"** does not":                 {[]any{"src/**.js"}, []string{"src/deep/more.js", "src/index.js", "src/secret.js"}},
		"? and braces":                {[]any{"t?p.{txt,md}"}, []string{"top.txt"}},
		"globs add up":                {[]any{"top.txt", "assets/**", "*.txt"}, []string{"assets/logos/logo.svg", "top.txt"}},
		"! excludes":                  {[]any{"assets/**", "src/**.js", "!**{secret,more}.*"}, []string{"assets/logos/logo.svg", "src/index.js"}},
		"! needs an earlier glob":     {[]any{"!src/secret.js", "src/*"}, []string{"src/index.js", "src/secret.js"}},
		"the last match decides":      {[]any{"src/*", "!src/**", "src/index.*"}, []string{"src/index.js"}},
		"an exclusion alone is empty": {[]any{"!top.txt"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			got := serve(t).run(props{
				"command": makeTree, "dir": dir, "assetPaths": c.globs, "archivePaths": c.globs,
			})
			expectFiles(t, dir, assetsOf(t, got), c.want)
			expectFiles(t, dir, archiveOf(t, got), c.want)
		})
	}
}

func TestFilesAreOfTheResourceToo(t *testing.T) {
	dir := t.TempDir()
	inputs := props{"create": makeTree, "dir": dir, "assetPaths": []any{"*.txt"}, "archivePaths": []any{"src/i*"}}
	for _, got := range []props{serve(t).create(inputs), serve(t).update(state(nil, nil), inputs)} {
		expectFiles(t, dir, assetsOf(t, got), []string{"top.txt"})
		expectFiles(t, dir, archiveOf(t, got), []string{"src/index.js"})
	}
}

func TestFilesAreRelativeToTheDefaultDir(t *testing.T) {
	dir := realDir(t)
	t.Chdir(dir)
	got := serve(t).run(props{"command": makeTree, "assetPaths": []any{"*.txt"}})
	expectFiles(t, dir, assetsOf(t, got), []string{"top.txt"})
}

func TestFilesAreAbsentUnlessAskedFor(t *testing.T) {
	args := props{"command": makeTree, "dir": t.TempDir()}
	expect(t, serve(t).run(args), state(args, nil))
}

func TestFilesStayIfNoLongerAskedFor(t *testing.T) {
	s := serve(t)
	dir := t.TempDir()
	globs := []any{"*.txt"}
	old := s.create(props{"create": makeTree, "dir": dir, "assetPaths": globs, "archivePaths": globs})
	got := s.update(old, props{"create": makeTree, "dir": dir})
	expectFiles(t, dir, assetsOf(t, got), []string{"top.txt"})
	expectFiles(t, dir, archiveOf(t, got), []string{"top.txt"})
}

func TestBadGlobsFail(t *testing.T) {
	for _, name := range []string{"assetPaths", "archivePaths"} {
		message := serve(t).createError(props{"create": "true", "dir": t.TempDir(), name: []any{"[a"}})
		if message == "" || strings.Contains(message, "running") {
			t.Errorf("error %q", message)
		}
	}
}

func TestFilesMustBeReadable(t *testing.T) {
	dir := t.TempDir()
	message := serve(t).createError(props{
		"create": "ln -s missing link", "dir": dir, "assetPaths": []any{"link"},
	})
	if !strings.Contains(message, filepath.Join(dir, "link")) {
		t.Errorf("error %q", message)
	}
}

// assetsOf returns the assets in outputs.
func assetsOf(t *testing.T, outputs props) map[string]*resource.Asset {
	t.Helper()
	files := map[string]*resource.Asset{}
	for name, value := range outputs["assets"].(resource.PropertyValue).ObjectValue() {
		files[string(name)] = value.AssetValue()
	}
	return files
}

// archiveOf returns the members of the archive in outputs.
func archiveOf(t *testing.T, outputs props) map[string]*resource.Asset {
	t.Helper()
	members, ok := outputs["archive"].(resource.PropertyValue).ArchiveValue().GetAssets()
	if !ok {
		t.Fatal("not an archive of assets")
	}
	files := map[string]*resource.Asset{}
	for name, member := range members {
		files[name] = member.(*resource.Asset)
	}
	return files
}

// expectFiles fails unless files are those of dir with the names of want.
func expectFiles(t *testing.T, dir string, files map[string]*resource.Asset, want []string) {
	t.Helper()
	expectNames(t, slices.Collect(maps.Keys(files)), want...)
	for name, file := range files {
		equal(t, file.Path, filepath.Join(dir, name))
		if _, err := os.Stat(file.Path); err != nil || file.Hash == "" {
			t.Errorf("%s: hash %q, %v", name, file.Hash, err)
		}
	}
}
