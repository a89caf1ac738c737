package filter

import (
	"errors"
	"fmt"
	"time"
)

// Config says which flow records are not counted.
type Config struct {
	// Rules are rules of the filter language, one each: "drop port 443 from 192.0.2.0/24". The first that matches decides; records that
	// match none are kept.
	Rules []string `json:"rules"`
	// RulesFile is a file of more rules, one a line, asked after Rules.
	RulesFile string `json:"rules_file"`
	// LuaNetflow is a Lua script with a function process_netflow(agent, flow), called for every NetFlow and IPFIX record.
	LuaNetflow string `json:"lua_netflow"`
	// LuaSFlow is a Lua script with a function process_sflow(agent, flow), called for every sFlow sample.
	LuaSFlow string `json:"lua_sflow"`
	// LuaTimeout is how long one call may take; the record is kept then. Loading a script may take a hundred times as long.
	LuaTimeout time.Duration `json:"lua_timeout"`
	// LuaMemory is how many bytes a script may keep, in each socket worker. It is measured now and then, and is an estimate.
	LuaMemory int64 `json:"lua_memory"`
	// LuaErrors is how many calls in a row may fail before a socket worker stops calling the script. Zero: it never stops.
	LuaErrors int `json:"lua_errors"`
}

// Default filters nothing.
func Default() Config {
	return Config{LuaTimeout: time.Millisecond, LuaMemory: 16 << 20, LuaErrors: 100}
}

// Validate reports every problem at once, each naming its key. It reads no files; New does.
func (c Config) Validate() error {
	var errs []error
	if len(c.Rules) > maxRules {
		errs = append(errs, fmt.Errorf("rules: %d rules, more than %d", len(c.Rules), maxRules))
	} else if _, err := c.inline(new(int)); err != nil {
		errs = append(errs, err)
	}
	if c.LuaTimeout < 10*time.Microsecond || c.LuaTimeout > time.Second {
		errs = append(errs, fmt.Errorf("lua_timeout: %v is outside 10us..1s", c.LuaTimeout))
	}
	if c.LuaMemory < 1<<20 || c.LuaMemory > 1<<30 {
		errs = append(errs, fmt.Errorf("lua_memory: %d is outside 1048576..1073741824", c.LuaMemory))
	}
	if c.LuaErrors < 0 {
		errs = append(errs, fmt.Errorf("lua_errors: %d is negative", c.LuaErrors))
	}
	return errors.Join(errs...)
}

// Empty says that every record is kept unseen.
func (c Config) Empty() bool {
	return len(c.Rules) == 0 && c.RulesFile == "" && c.LuaNetflow == "" && c.LuaSFlow == ""
}

// inline reads the rules that stand in the configuration itself.
func (c Config) inline(tests *int) ([]rule, error) {
	var rules []rule
	var errs []error
	for i, text := range c.Rules {
		r, err := parse(fmt.Sprintf("rules[%d]", i), text, tests)
		rules, errs = append(rules, r...), append(errs, err)
	}
	return rules, errors.Join(errs...)
}
