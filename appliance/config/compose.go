package config

// Stand-ins for Config types that their packages have not published yet.

// Notify says whom to tell about attacks.
type Notify struct {
	// Script is run at each event.
	Script string `json:"script"`
}

// Validate reports every problem.
func (n Notify) Validate() error { return nil }

// Journal is where state is kept.
type Journal struct {
	// Path is the file.
	Path string `json:"path"`
}

// Validate reports every problem.
func (j Journal) Validate() error { return nil }
