package doctor

// registriesFile is the file from which k3s and RKE2 make containerd's
// configuration and hosts.toml files.
func registriesFile(program string) string { return "/etc/rancher/" + program + "/registries.yaml" }
