package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

const module = "github.com/weir-ddos/weir"

// comments finds the documentation of struct types and their fields in the module's source.
type comments struct {
	root     string                       // the module's folder
	packages map[string]map[string]string // import path -> "Type" or "Type.Field" -> text
}

// newComments looks for the module's folder from here upwards.
func newComments() (*comments, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return &comments{root: dir, packages: make(map[string]map[string]string)}, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return nil, fmt.Errorf("no go.mod here or above; run configdoc inside the module")
	}
}

// of returns the comment of a type, or of one of its fields; a field of a struct whose fields need no words of their own has the
// struct's. A missing comment is an error: every key is documented.
func (c *comments) of(t reflect.Type, field string) (string, error) {
	docs, err := c.load(t.PkgPath())
	if err != nil {
		return "", err
	}
	key := t.Name()
	if field != "" {
		key += "." + field
	}
	text := docs[key]
	if text == "" {
		text = sentence(docs[t.Name()], t.Name())
	}
	if text == "" {
		return "", fmt.Errorf("%s.%s has no comment", t.PkgPath(), key)
	}
	return text, nil
}

func (c *comments) load(path string) (map[string]string, error) {
	if docs, ok := c.packages[path]; ok {
		return docs, nil
	}
	rel, ok := strings.CutPrefix(path, module)
	if !ok {
		return nil, fmt.Errorf("%s is not part of this module", path)
	}
	files, err := filepath.Glob(filepath.Join(c.root, filepath.FromSlash(rel), "*.go"))
	if err != nil {
		return nil, err
	}
	docs := make(map[string]string)
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		collect(f, docs)
	}
	c.packages[path] = docs
	return docs, nil
}

func collect(f *ast.File, docs map[string]string) {
	for _, d := range f.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, spec := range gen.Specs {
			ts := spec.(*ast.TypeSpec)
			doc := ts.Doc
			if doc == nil && len(gen.Specs) == 1 {
				doc = gen.Doc
			}
			docs[ts.Name.Name] = text(doc)
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			collectFields(ts.Name.Name, st, docs)
		}
	}
}

// collectFields gives every field its comment; fields right below one another without a comment share the one above
// ("NextHopIPv4 and NextHopIPv6 ..."), as a reader of the source takes it.
func collectFields(typeName string, st *ast.StructType, docs map[string]string) {
	last := ""
	for _, field := range st.Fields.List {
		comment := text(field.Doc)
		if comment == "" {
			comment = text(field.Comment)
		}
		for _, n := range field.Names {
			switch {
			case comment != "":
				last = comment
			case !strings.Contains(last, n.Name):
				last = ""
			}
			docs[typeName+"."+n.Name] = last
		}
	}
}

// text is a comment as one paragraph.
func text(g *ast.CommentGroup) string {
	if g == nil {
		return ""
	}
	return strings.Join(strings.Fields(g.Text()), " ")
}
