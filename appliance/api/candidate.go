package api

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/edit"
	"github.com/weir-ddos/weir/appliance/config/strict"
)

// candidate is the configuration being edited, and what it takes to make it the running one. Server.mu guards it.
type candidate struct {
	path    string
	apply   Applier
	archive *config.Archive // nil when the history cannot be kept; archiveErr says why
	parse   []config.Option

	running     *config.Config
	runningText []byte // as in the file
	doc         *edit.Doc

	shown   *yaml.Node // what tree made of shownOf
	shownOf *edit.Doc
}

func newCandidate(path string, running *config.Config, text []byte, apply Applier, opts []config.Option) (*candidate, error) {
	doc, err := edit.New(path, text)
	if err != nil {
		return nil, err
	}
	return &candidate{path: path, apply: apply, parse: opts, running: running, runningText: text, doc: doc}, nil
}

// openArchive makes the history and stores what runs now as its newest revision, so that every rollback has a way back.
func (c *candidate) openArchive(now time.Time) error {
	a, err := config.OpenArchive(c.running.History)
	if err != nil {
		return err
	}
	if _, err := a.Add(c.runningText, config.Revision{Time: now, UID: uint32(os.Getuid()), Cause: "start"}); err != nil {
		return err
	}
	c.archive = a
	return nil
}

// dirty says whether there is anything to commit.
func (c *candidate) dirty() bool { return !bytes.Equal(c.doc.Text(), c.runningText) }

// config is the candidate as far as it can be read; a value that does not stand alone (a switch without its limit) is no error here.
func (c *candidate) config() (*config.Config, error) { return config.Read(c.path, c.doc.Text()) }

// tree is the candidate with all defaults, as it is shown. It is shared: it is only read. A document is never edited in place.
func (c *candidate) tree() (*yaml.Node, error) {
	if c.shown != nil && c.shownOf == c.doc {
		return c.shown, nil
	}
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	tree, err := strict.Encode(cfg)
	if err != nil {
		return nil, err
	}
	c.shown, c.shownOf = tree, c.doc
	return tree, nil
}

// change edits the candidate by f and keeps the edit only when the result can still be read.
func (c *candidate) change(f func(*edit.Doc) error) error {
	doc, err := edit.New(c.path, c.doc.Text())
	if err != nil {
		return err
	}
	if err := f(doc); err != nil {
		return err
	}
	if _, err := config.Read(c.path, doc.Text()); err != nil {
		return err
	}
	c.doc = doc
	return nil
}

// discard forgets the edits.
func (c *candidate) discard() error {
	doc, err := edit.New(c.path, c.runningText)
	if err != nil {
		return err
	}
	c.doc = doc
	return nil
}

func (c *candidate) replace(text []byte) error {
	if _, err := config.Parse(c.path, text, c.parse...); err != nil {
		return err
	}
	doc, err := edit.New(c.path, text)
	if err != nil {
		return err
	}
	c.doc = doc
	return nil
}

// diff lists what commit would change.
func (c *candidate) diff() ([]config.Change, error) {
	next, err := c.config()
	if err != nil {
		return nil, err
	}
	return config.Diff(c.running, next), nil
}

// changedOnDisk says whether somebody edited the file since it was read.
func (c *candidate) changedOnDisk() bool {
	text, err := config.ReadFile(c.path)
	return err == nil && !bytes.Equal(text, c.runningText)
}

// errDisk is what commit says instead of overwriting somebody's edit.
var errDisk = errors.New("the file was changed by hand since it was read, and commit would overwrite that; " +
	"take the file over with `weirctl reload`, or overwrite it with `weirctl commit force`")

// commit checks the candidate, applies it and stores it. The order makes a failure harmless: the new file is written beside the
// old one first (a full disk is found before anything happens), then it is applied, then it takes its place.
func (c *candidate) commit(now time.Time, by peer, cause string, force bool) ([]config.Change, string, error) {
	text := c.doc.Text()
	next, err := config.Parse(c.path, text, c.parse...)
	if err != nil {
		return nil, "", err
	}
	if c.changedOnDisk() && !force {
		return nil, "", fmt.Errorf("%s: %w", c.path, errDisk)
	}
	changes := config.Diff(c.running, next)
	staged, err := config.Stage(c.path, text, 0o640)
	if err != nil {
		return nil, "", fmt.Errorf("nothing was changed: %w", err)
	}
	if err := c.apply.Apply(c.running, next); err != nil {
		staged.Discard()
		return nil, "", fmt.Errorf("not applied, the old configuration stays in force: %w", err)
	}
	c.running = next
	if err := staged.Commit(); err != nil {
		return changes, "", fmt.Errorf("applied, but not stored: after a restart the old configuration returns: %w", err)
	}
	c.runningText = text
	return changes, c.remember(now, by, cause), nil
}

// remember adds the running text to the history and returns a warning when it cannot.
func (c *candidate) remember(now time.Time, by peer, cause string) string {
	if c.archive == nil {
		return "the history of configurations is not available, so there is no rollback to this one"
	}
	if _, err := c.archive.Add(c.runningText, config.Revision{Time: now, UID: by.UID, User: by.User, Cause: cause}); err != nil {
		return err.Error()
	}
	return ""
}

// previous is the revision before the one in force.
func (c *candidate) previous() (int, error) {
	list, err := c.revisions()
	if err != nil {
		return 0, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		text, err := c.archive.Text(list[i].Number)
		if err == nil && !bytes.Equal(text, c.runningText) {
			return list[i].Number, nil
		}
	}
	return 0, errors.New("there is no earlier configuration to go back to")
}

func (c *candidate) revisions() ([]config.Revision, error) {
	if c.archive == nil {
		return nil, errors.New("the history of configurations is not available; see history.directory and the log")
	}
	return c.archive.List()
}

// rollback puts revision n (0: the one before the running) in force at once. Uncommitted edits are dropped.
func (c *candidate) rollback(now time.Time, by peer, n int, force bool) (int, []config.Change, string, error) {
	if _, err := c.revisions(); err != nil {
		return 0, nil, "", err
	}
	if n == 0 {
		var err error
		if n, err = c.previous(); err != nil {
			return 0, nil, "", err
		}
	}
	text, err := c.archive.Text(n)
	if err != nil {
		return n, nil, "", err
	}
	before := c.doc
	if err := c.replace(text); err != nil {
		return n, nil, "", fmt.Errorf("revision %d is not valid any more: %w", n, err)
	}
	changes, warning, err := c.commit(now, by, fmt.Sprintf("rollback to %d", n), force)
	if err != nil {
		c.doc = before
	}
	return n, changes, warning, err
}
