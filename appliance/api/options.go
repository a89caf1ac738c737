package api

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-ddos/weir/appliance/config"
	"github.com/weir-ddos/weir/appliance/config/edit"
	"github.com/weir-ddos/weir/appliance/config/strict"
)

// category is a first word of show, set and delete that names a part of the configuration.
type category struct {
	// base is where its objects are; empty for main, which is everything else.
	base []string
	// byName is set for lists whose elements have the name in this key; maps have it as their key.
	byName string
	// words translate FastNetMon's option names into ours, as a path below the object (or below the top, for main).
	words map[string]string
	// never explains options of FastNetMon that have no equal here.
	never map[string]string
}

var categories = map[string]*category{
	"main":      {words: mainWords, never: mainNever},
	"hostgroup": {base: []string{"hostgroups"}, words: groupWords, never: groupNever},
	"bgp":       {base: []string{"bgp", "peers"}, byName: "name", words: peerWords, never: peerNever},
	"port":      {base: []string{"ports"}, byName: "device"},
}

// mainWords are FastNetMon Advanced's main options whose meaning is equal.
var mainWords = map[string]string{
	"networks_list":                                         "networks",
	"networks_whitelist":                                    "whitelist",
	"enable_ban":                                            "bans.enable",
	"ban_time":                                              "bans.ban_time",
	"unban_only_if_attack_finished":                         "bans.unban_only_if_attack_finished",
	"average_calculation_time":                              "rates.average_time",
	"speed_calculation_delay":                               "tick",
	"enable_connection_tracking":                            "traffic.flows",
	"logging_level":                                         "log.level",
	"gobgp_router_id":                                       "bgp.router_id",
	"gobgp_next_hop":                                        "hostgroups.global.next_hop_ipv4",
	"gobgp_next_hop_ipv6":                                   "hostgroups.global.next_hop_ipv6",
	"gobgp_next_hop_subnet_ipv4":                            "hostgroups.global.next_hop_subnet_ipv4",
	"gobgp_next_hop_subnet_ipv6":                            "hostgroups.global.next_hop_subnet_ipv6",
	"gobgp_announce_host":                                   "hostgroups.global.announce_host",
	"gobgp_announce_whole_subnet":                           "hostgroups.global.announce_subnet",
	"gobgp_community_host":                                  "hostgroups.global.communities_host",
	"gobgp_communities_host_ipv4":                           "hostgroups.global.communities_host",
	"gobgp_community_subnet":                                "hostgroups.global.communities_subnet",
	"gobgp_communities_subnet_ipv4":                         "hostgroups.global.communities_subnet",
	"gobgp_announce_whole_subnet_custom_prefix_length":      "hostgroups.global.subnet_length_ipv4",
	"gobgp_announce_whole_subnet_custom_ipv6_prefix_length": "hostgroups.global.subnet_length_ipv6",
	"gobgp_flow_spec_default_action":                        "hostgroups.global.flowspec_action",
	"notify_script_path":                                    "notify.script",
	"netflow_sampling_ratio":                                "flows.default_sampling_rate",
}

// mainNever says what to do instead.
var mainNever = map[string]string{
	"gobgp":                                          "is not needed: the BGP speaker runs as soon as there is a peer (set bgp NAME)",
	"gobgp_ipv6":                                     "is not needed: IPv6 is announced to every peer that carries it (set bgp NAME ipv6_unicast enable)",
	"gobgp_announce_host_ipv6":                       "is not needed: gobgp_announce_host is for both families",
	"gobgp_announce_whole_subnet_ipv6":               "is not needed: gobgp_announce_whole_subnet is for both families",
	"gobgp_community_host_ipv6":                      "is not needed: gobgp_community_host is for both families",
	"gobgp_community_subnet_ipv6":                    "is not needed: gobgp_community_subnet is for both families",
	"gobgp_flow_spec_announces":                      "is chosen per hostgroup: set hostgroup global mitigation flowspec",
	"gobgp_flow_spec_v6_announces":                   "is chosen per hostgroup, for both families: set hostgroup global mitigation flowspec",
	"gobgp_flow_spec_rate_limit_value":               "is in Mbit/s here: set hostgroup global flowspec_rate_mbps N",
	"enable_ban_ipv6":                                "is not needed: IPv6 is always treated as IPv4 is",
	"process_ipv6_traffic":                           "is not needed: IPv6 is always treated as IPv4 is",
	"process_incoming_traffic":                       "is chosen per hostgroup: set hostgroup global enable_ban_incoming disable",
	"process_outgoing_traffic":                       "is chosen per hostgroup: set hostgroup global enable_ban_outgoing disable",
	"do_not_ban_incoming":                            "is chosen per hostgroup: set hostgroup global enable_ban_incoming disable",
	"do_not_ban_outgoing":                            "is chosen per hostgroup: set hostgroup global enable_ban_outgoing disable",
	"unban_enabled":                                  "is always on: every mitigation ends",
	"notify_script_enabled":                          "is on when notify.script names a script: set main notify.script PATH; delete main notify.script switches it off",
	"notify_script_format":                           "is always text, as FastNetMon Community writes it",
	"mirror_afpacket":                                "is a port: set main ports '{driver: afpacket, device: eth1}'",
	"mirror_xdp":                                     "is a port: set main ports '{driver: afxdp, device: eth1}'",
	"interfaces":                                     "are ports: set main ports '{driver: afpacket, device: eth1}'",
	"interfaces_xdp":                                 "are ports: set main ports '{driver: afxdp, device: eth1}'",
	"override_internal_traffic_as_incoming":          "is set main traffic.internal incoming",
	"override_internal_traffic_as_outgoing":          "is set main traffic.internal outgoing",
	"keep_blocked_hosts_during_restart":              "is always on; bgp.on_exit says what becomes of the routes at a stop",
	"do_not_withdraw_unicast_announces_on_restart":   "is set main bgp.on_exit keep",
	"do_not_withdraw_flow_spec_announces_on_restart": "is set main bgp.on_exit keep",
	"netflow":       "is on as soon as there is a listener: set main flows.listeners '{port: 2055}'",
	"netflow_ports": "are in a listener: set main flows.listeners '{port: 2055}'",
	"netflow_host":  "is in a listener: set main flows.listeners '{port: 2055}'",
	"sflow":         "is on as soon as there is a listener: set main flows.listeners '{port: 6343}'",
	"sflow_ports":   "are in a listener: set main flows.listeners '{port: 6343}'",
	"sflow_host":    "is in a listener: set main flows.listeners '{port: 6343}'",
	"sflow_read_packet_length_from_ip_header":  "is set main flows.bytes ip",
	"netflow_count_packets_per_device":         "is always on: show netflow9_packets_per_device",
	"sflow_count_packets_per_device":           "is always on: show sflow_packets_per_device",
	"netflow_multi_thread_processing":          "is always on; sockets of a listener says how many",
	"netflow_threads_per_port":                 "is sockets of a listener",
	"netflow_custom_sampling_ratio_enable":     "is chosen per exporter: set main flows.exporters '{prefix: 192.0.2.1/32, sampling: override, sampling_rate: 1000}'",
	"netflow_ignore_sampling_rate_from_device": "is chosen per exporter: set main flows.exporters '{prefix: 192.0.2.1/32, sampling: override, sampling_rate: 1000}'",
	"netflow_templates_cache":                  "is flows.templates.path",
	"netflow_sampling_cache":                   "is flows.templates.path, for sampling rates too",
	"netflow_ignore_long_duration_flow_enable": "is not needed: a record is spread over the time that it reports (flows.spread)",
	"netflow_rx_queue_overflow_monitoring":     "is always on: show flow_sockets",
	"enable_api":                               "is always on for local users; see api.read_group and api.write_group",
}

var groupWords = map[string]string{"calculation_method": "calculation", "parent_name": "parent"}

var groupNever = map[string]string{
	"name":            "is given when the group is made: set hostgroup NAME",
	"enable_ban_ipv6": "is not needed: IPv6 is always treated as IPv4 is",
}

var peerWords = map[string]string{
	"remote_address":    "address",
	"md5_auth_password": "password",
	"ipv4_unicast":      "families.ipv4_unicast",
	"ipv6_unicast":      "families.ipv6_unicast",
	"ipv4_flowspec":     "families.ipv4_flowspec",
	"ipv6_flowspec":     "families.ipv6_flowspec",
}

var peerNever = map[string]string{
	"md5_auth": "is on when there is a password: set bgp NAME md5_auth_password SECRET",
}

// target is a resolved place in the configuration.
type target struct {
	parts []string
	typ   reflect.Type
	// list is set when values are added to it and removed one by one.
	list bool
}

func (t target) path() string { return strings.ReplaceAll(strings.Join(t.parts, "."), ".[", "[") }

// mainOption finds a main option: a FastNetMon name, a dotted path, or a last word that only one key has.
func mainOption(word string) (target, error) {
	c := categories["main"]
	if p, ok := c.words[word]; ok {
		return at(strict.Split(p))
	}
	if why, ok := c.never[word]; ok {
		return target{}, fail(400, "%s %s", word, why)
	}
	if t, err := at(strict.Split(word)); err == nil {
		return t, nil
	} else if strings.Contains(word, ".") {
		return target{}, failure{status: 400, err: err}
	}
	var found []string
	var known []string
	for _, k := range config.Keys() {
		if strings.Contains(k.Path, "*") {
			continue
		}
		leaf := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if leaf == word {
			found = append(found, k.Path)
		}
		known = append(known, leaf, k.Path)
	}
	if len(found) == 1 {
		return at(strict.Split(found[0]))
	}
	if len(found) > 1 {
		return target{}, fail(400, "%q is ambiguous; it may be %s", word, strings.Join(found, ", "))
	}
	for w := range c.words {
		known = append(known, w)
	}
	slices.Sort(known)
	return target{}, fail(400, "there is no main option %q%s; `show main` lists them", word, orNear(word, slices.Compact(known)))
}

func orNear(word string, known []string) string {
	if near := strict.Near(word, known); len(near) > 0 {
		return "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

func at(parts []string) (target, error) {
	if len(parts) == 0 {
		return target{}, errors.New("no option was named")
	}
	typ, err := config.TypeAt(parts)
	if err != nil {
		return target{}, err
	}
	return target{parts: parts, typ: typ, list: typ.Kind() == reflect.Slice}, nil
}

// object finds an object of a category in the candidate: its path, or that it is not there.
func (c *category) object(doc *edit.Doc, name string) (parts []string, found bool) {
	if c.byName == "" {
		parts = append(slices.Clone(c.base), name)
		return parts, doc.Get(parts) != nil
	}
	list := doc.Get(c.base)
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil, false
	}
	for i, e := range list.Content {
		for k := 0; k+1 < len(e.Content); k += 2 {
			if e.Content[k].Value == c.byName && e.Content[k+1].Value == name {
				return append(slices.Clone(c.base), fmt.Sprintf("[%d]", i)), true
			}
		}
	}
	return nil, false
}

// option finds an option of an object.
func (c *category) option(object []string, word string) (target, error) {
	if why, ok := c.never[word]; ok {
		return target{}, fail(400, "%s %s", word, why)
	}
	if w, ok := c.words[word]; ok {
		word = w
	}
	t, err := at(append(slices.Clone(object), strict.Split(word)...))
	if err != nil {
		return target{}, fail(400, "%s", strings.TrimPrefix(err.Error(), strings.Join(object, ".")+"."))
	}
	return t, nil
}

// validName is what an object may be called.
func validName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/"
	if name == "" || len(name) > 64 || strings.Trim(name, allowed) != "" {
		return fail(400, "%q cannot be a name; use up to 64 letters, digits, - and _", name)
	}
	return nil
}

// set gives the target a value: a scalar is replaced, a list appended to. A value that is already there is no error.
func (t target) set(doc *edit.Doc, word string) error {
	typ := t.typ
	if t.list && !strings.HasPrefix(strings.TrimSpace(word), "[") {
		typ = typ.Elem()
	}
	n, err := config.Value(typ, word)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path(), err)
	}
	if !t.list || typ == t.typ {
		return doc.Set(t.parts, n)
	}
	if old := doc.Get(t.parts); old != nil && slices.ContainsFunc(old.Content, func(e *yaml.Node) bool { return edit.Equal(e, n) }) {
		return nil
	}
	return doc.Append(t.parts, n)
}

// remove takes a value out of a list, or, without a value, the whole key, which then has its default.
func (t target) remove(doc *edit.Doc, word *string) error {
	if word == nil {
		if doc.Get(t.parts) == nil {
			return fmt.Errorf("%s: is not set", t.path())
		}
		return doc.Remove(t.parts)
	}
	if !t.list {
		return fail(400, "%s holds one value; `delete` it without a value to return to the default", t.path())
	}
	n, err := config.Value(t.typ.Elem(), *word)
	if err != nil {
		return fmt.Errorf("%s: %w", t.path(), err)
	}
	if list := doc.Get(t.parts); list != nil {
		for i, e := range list.Content {
			if edit.Equal(e, n) || e.Kind == yaml.ScalarNode && e.Value == n.Value {
				return doc.Remove(append(slices.Clone(t.parts), fmt.Sprintf("[%d]", i)))
			}
		}
	}
	return fail(404, "%s does not hold %s", t.path(), *word)
}
