// SPDX-License-Identifier: Apache-2.0

package local

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// collect puts the files of dir that in asks for in out. What in does not ask
// for stays as it is; what matches no file is empty.
func (out *Outputs) collect(dir string, in Inputs) error {
	if in.AssetPaths != nil {
		if err := out.collectAssets(dir, *in.AssetPaths); err != nil {
			return err
		}
	}
	if in.ArchivePaths != nil {
		return out.collectArchive(dir, *in.ArchivePaths)
	}
	return nil
}

// collectAssets puts the files that globs select in the assets of out.
func (out *Outputs) collectAssets(dir string, globs []string) error {
	files, err := findFiles(dir, globs)
	if err != nil {
		return err
	}
	assets := make(map[string]*types.AssetOrArchive, len(files))
	for name, file := range files {
		assets[name] = &types.AssetOrArchive{Asset: file}
	}
	out.Assets = &assets
	return nil
}

// collectArchive puts the files that globs select in the archive of out.
func (out *Outputs) collectArchive(dir string, globs []string) error {
	files, err := findFiles(dir, globs)
	if err != nil {
		return err
	}
	members := make(map[string]any, len(files))
	for name, file := range files {
		members[name] = file
	}
	out.Archive, err = resource.NewAssetArchive(members)
	return err
}

// findFiles returns the files below dir that globs select, by their
// slash-separated path relative to dir.
func findFiles(dir string, globs []string) (map[string]*resource.Asset, error) {
	rules, err := parseRules(globs)
	if err != nil {
		return nil, err
	}
	files := map[string]*resource.Asset{}
	return files, fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !selects(rules, name) {
			return err
		}
		files[name], err = resource.NewPathAsset(path.Join(dir, name))
		return err
	})
}

// rule is a glob that includes or excludes the files that it matches.
type rule struct {
	glob.Glob
	exclude bool
}

// parseRules reads globs; those that start with "!" exclude.
func parseRules(globs []string) ([]rule, error) {
	rules := make([]rule, len(globs))
	for i, pattern := range globs {
		pattern, exclude := strings.CutPrefix(pattern, "!")
		compiled, err := glob.Compile(pattern, '/')
		if err != nil {
			return nil, err
		}
		rules[i] = rule{compiled, exclude}
	}
	return rules, nil
}

// selects says whether the last of the rules that match name includes it. No
// match does not.
func selects(rules []rule, name string) bool {
	for _, r := range slices.Backward(rules) {
		if r.Match(name) {
			return !r.exclude
		}
	}
	return false
}
