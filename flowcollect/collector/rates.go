package collector

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
)

// maxRatesFile bounds what is read back: a line is about 120 bytes.
const maxRatesFile = 256 << 20

// savedRate is one announced rate in the file.
type savedRate struct {
	Exporter netip.Addr      `json:"exporter"`
	Protocol record.Protocol `json:"protocol"`
	Domain   uint32          `json:"domain"`
	Scope    sampling.Scope  `json:"scope"`
	ID       uint64          `json:"id"`
	Rate     float64         `json:"rate"`
}

// ratesPath is where rates are kept: beside the templates.
func ratesPath(templates string) string { return templates + ".rates" }

// announce makes rates known to a table.
func announce(t *sampling.Table, list []sampling.Known) {
	for _, k := range list {
		a := k.Exporter.As16()
		t.Announce(&a, k.Protocol, k.Domain, k.Scope, k.ID, k.Rate)
	}
}

// saveRates writes through a temporary file, so that there is always a whole one.
func saveRates(path string, list []sampling.Known) (err error) {
	out := make([]savedRate, len(list))
	for i, k := range list {
		out[i] = savedRate(k)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("sampling rates: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // there is nothing else to be done about it
		}
	}()
	if err = json.NewEncoder(f).Encode(out); err != nil {
		_ = f.Close() // the error is told
		return fmt.Errorf("sampling rates to %s: %w", path, err)
	}
	if err = f.Close(); err != nil {
		return fmt.Errorf("sampling rates to %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// loadRates reads what saveRates wrote. What cannot be a rate is left out.
func loadRates(path string) ([]sampling.Known, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in []savedRate
	if err := json.NewDecoder(io.LimitReader(f, maxRatesFile)).Decode(&in); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []sampling.Known
	for _, r := range in {
		if r.Exporter.IsValid() && r.Protocol < record.NumProtocols && r.Scope <= sampling.Interface && r.Rate > 0 && r.Rate <= sampling.MaxRate {
			out = append(out, sampling.Known(r))
		}
	}
	return out, nil
}
