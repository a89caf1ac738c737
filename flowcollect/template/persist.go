package template

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// maxFile is the most bytes of a saved registry that Load reads: 64 k templates of 100 fields are about 80 MB.
const maxFile = 1 << 30

// savedTemplate is one template in the file. Only what the exporter said is saved; programs are compiled anew.
type savedTemplate struct {
	Exporter  netip.Addr `json:"exporter"`
	Protocol  string     `json:"protocol"`
	Domain    uint32     `json:"domain"`
	ID        uint16     `json:"id"`
	Options   bool       `json:"options,omitempty"`
	Scopes    int        `json:"scopes,omitempty"`
	Fields    []byte     `json:"fields"` // 8 bytes a field: number, length, enterprise
	Refreshed int64      `json:"refreshed"`
}

// savedFile is the file: the templates as they stand, and their checksum.
type savedFile struct {
	Version   int             `json:"version"`
	SHA256    string          `json:"sha256"`
	Templates json.RawMessage `json:"templates"`
}

// protocols are those that have templates.
var protocols = map[string]record.Protocol{record.NetFlow9.String(): record.NetFlow9, record.IPFIX.String(): record.IPFIX}

// Save writes every template to the file at path, through a temporary file beside it, so that path is always a whole file.
func (g *Registry) Save(path string) error {
	body, err := json.Marshal(g.saved())
	if err != nil {
		return fmt.Errorf("templates to %s: %w", path, err)
	}
	sum := sha256.Sum256(body)
	whole, err := json.Marshal(savedFile{Version: savedVersion, SHA256: hex.EncodeToString(sum[:]), Templates: body})
	if err != nil {
		return fmt.Errorf("templates to %s: %w", path, err)
	}
	if err := replaceFile(path, whole); err != nil {
		return fmt.Errorf("templates to %s: %w", path, err)
	}
	return nil
}

// saved lists all templates in a stable order.
func (g *Registry) saved() []savedTemplate {
	list := []savedTemplate{}
	for i := range g.shards {
		for key, sys := range *g.shards[i].systems.Load() {
			for _, p := range *sys.programs.Load() {
				list = append(list, savedTemplate{
					Exporter: netip.AddrFrom16(key.Exporter).Unmap(), Protocol: key.Protocol.String(), Domain: key.Domain,
					ID: p.ID, Options: p.Kind == Options, Scopes: p.Scopes, Fields: p.def, Refreshed: max(p.refreshed.Load(), p.used.Load()),
				})
			}
		}
	}
	slices.SortFunc(list, func(a, b savedTemplate) int {
		return cmp.Or(a.Exporter.Compare(b.Exporter), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// replaceFile writes data to a new file and renames it to path.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // after the rename there is nothing left to remove
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Load adds the templates of a saved file, but for those that had expired at now, and returns how many. What the registry already knows
// wins: it is newer. A damaged file is an error and adds nothing; a template in it that would be refused from an exporter is left out.
func (g *Registry) Load(path string, now int64) (int, error) {
	list, err := readSaved(path)
	if err != nil {
		return 0, fmt.Errorf("templates from %s: %w", path, err)
	}
	n := 0
	for _, t := range list {
		if g.restore(t, now) {
			n++
		}
	}
	return n, nil
}

// readSaved reads and checks the file.
func readSaved(path string) ([]savedTemplate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	whole, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	var file savedFile
	if err := json.Unmarshal(whole, &file); err != nil {
		return nil, err
	}
	if file.Version != savedVersion {
		return nil, fmt.Errorf("version %d is not %d", file.Version, savedVersion)
	}
	if sum := sha256.Sum256(file.Templates); hex.EncodeToString(sum[:]) != file.SHA256 {
		return nil, errors.New("checksum does not match")
	}
	var list []savedTemplate
	if err := json.Unmarshal(file.Templates, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// restore adds one saved template.
func (g *Registry) restore(t savedTemplate, now int64) bool {
	protocol, ok := protocols[t.Protocol]
	if !ok || !t.Exporter.IsValid() || len(t.Fields)%fieldLen != 0 || t.Scopes < 0 || t.Scopes > len(t.Fields)/fieldLen {
		return false
	}
	key := Key{Exporter: t.Exporter.As16(), Domain: t.Domain, Protocol: protocol}
	if t.Refreshed < now-g.cfg.Expiry.Nanoseconds() || g.System(&key).Lookup(t.ID) != nil {
		return false
	}
	d := Definition{ID: t.ID, scopes: t.Scopes, def: t.Fields}
	if t.Options {
		d.Kind = Options
	}
	return d.check() == record.OK && g.put(&key, &d, min(t.Refreshed, now)) == record.OK
}
