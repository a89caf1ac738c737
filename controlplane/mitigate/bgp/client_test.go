package bgp

import "encoding/json"

const applianceEnv = "WEIR_TEST_APPLIANCE"

func runTestAppliance([]string) int { return 0 }

func stringOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
