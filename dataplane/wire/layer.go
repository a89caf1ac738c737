package wire

// Layer names one header of a frame, as `weir decode` lists them.
type Layer uint8

// The layers that Trace notes.
const (
	LayerEthernet Layer = iota
	LayerSLL
	LayerSLL2
	LayerNull
	LayerCHDLC
	LayerNFLOG
	LayerVLAN
	LayerETag
	LayerVNTag
	LayerPBB
	LayerFabricPath
	LayerCMD
	LayerNSH
	LayerLLC
	LayerSNAP
	LayerMPLS
	LayerPWControl
	LayerPPPoE
	LayerPPP
	LayerL2TP
	LayerIPv4
	LayerIPv6
	LayerHopByHop
	LayerRouting
	LayerFragment
	LayerDestOpts
	LayerAH
	LayerMobility
	LayerHIP
	LayerShim6
	LayerGRE
	LayerERSPAN
	LayerEtherIP
	LayerTCP
	LayerUDP
	LayerICMP
	LayerICMPv6
	LayerSCTP
	LayerESP
	LayerVXLAN
	LayerGeneve
	LayerGTPU
	LayerTeredo
	numLayers
)

var layerNames = [numLayers]string{
	LayerEthernet: "eth", LayerSLL: "sll", LayerSLL2: "sll2", LayerNull: "null", LayerCHDLC: "chdlc", LayerNFLOG: "nflog",
	LayerVLAN: "vlan", LayerETag: "etag", LayerVNTag: "vntag", LayerPBB: "pbb", LayerFabricPath: "fabricpath", LayerCMD: "cmd",
	LayerNSH: "nsh", LayerLLC: "llc", LayerSNAP: "snap", LayerMPLS: "mpls", LayerPWControl: "pwcw", LayerPPPoE: "pppoe",
	LayerPPP: "ppp", LayerL2TP: "l2tp", LayerIPv4: "ipv4", LayerIPv6: "ipv6", LayerHopByHop: "hopopts", LayerRouting: "routing",
	LayerFragment: "fragment", LayerDestOpts: "dstopts", LayerAH: "ah", LayerMobility: "mobility", LayerHIP: "hip",
	LayerShim6: "shim6", LayerGRE: "gre", LayerERSPAN: "erspan", LayerEtherIP: "etherip", LayerTCP: "tcp", LayerUDP: "udp",
	LayerICMP: "icmp", LayerICMPv6: "icmpv6", LayerSCTP: "sctp", LayerESP: "esp", LayerVXLAN: "vxlan", LayerGeneve: "geneve",
	LayerGTPU: "gtpu", LayerTeredo: "teredo",
}

// String returns the layer's name.
func (l Layer) String() string {
	if l < numLayers {
		return layerNames[l]
	}
	return "invalid"
}
