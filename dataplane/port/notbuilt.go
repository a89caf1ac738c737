package port

import "fmt"

// notBuilt stands in for a driver that this binary was built without.
type notBuilt struct{ how string }

// RegisterNotBuilt makes a driver's name known that this binary lacks: Lookup finds it, its Check and Open return
// ErrNotBuilt with how to get it, and Drivers does not list it.
func RegisterNotBuilt(name, how string) {
	Register(name, notBuilt{how})
}

func (n notBuilt) err() error { return fmt.Errorf("%w: %s", ErrNotBuilt, n.how) }

// Check implements Driver.
func (n notBuilt) Check(Config) error { return n.err() }

// Open implements Driver.
func (n notBuilt) Open(Config) (Port, error) { return nil, n.err() }
