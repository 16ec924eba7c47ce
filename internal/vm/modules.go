package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// inOrder returns the files of the wanted kernel modules below dir and of what they
// depend on, in an order in which they can be loaded. What is not there is built into
// the kernel, or the tests will say what they miss.
func inOrder(dir string, wanted []string) ([]string, error) {
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var order []string
	done := make(map[string]bool)
	var add func(name string) error
	add = func(name string) error {
		path := files[name]
		if done[name] || path == "" {
			return nil
		}
		done[name] = true
		depends, err := dependencies(path)
		if err != nil {
			return err
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range wanted {
		if err := add(moduleName(name)); err != nil {
			return nil, err
		}
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("no module is below %s", dir)
	}
	return order, nil
}

// moduleName is how modules are called whatever their files are.
func moduleName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// dependencies reads what a module says of itself.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	var names []string
	for _, line := range bytes.Split(info, []byte{0}) {
		list, ok := strings.CutPrefix(string(line), "depends=")
		if !ok || list == "" {
			continue
		}
		for _, name := range strings.Split(list, ",") {
			names = append(names, moduleName(name))
		}
	}
	return names, nil
}
