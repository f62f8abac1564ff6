// Package before prepares the environment before the original's packages read it in their initialization: Go initializes
// packages that are ready in the order of their paths, and this one's path is smaller than theirs.
package before

import "os"

// Environment is what is kept of the process's environment.
var Environment []string

func init() {
	// The original's settings come from commands, and no cluster or account of this machine may be found by accident.
	given := map[string]string{}
	for _, name := range []string{"PATH", "TMPDIR", "GODEBUG", "GOMAXPROCS", "GODIFF_STATE_FD", "AWS_VPC_K8S_CNI_LOG_FILE", "AWS_VPC_K8S_CNI_LOGLEVEL"} {
		if value, there := os.LookupEnv(name); there {
			given[name] = value
		}
	}
	os.Clearenv()
	for name, value := range given {
		os.Setenv(name, value)
	}
	Environment = os.Environ()
	for name, value := range map[string]string{
		// The original's log: to standard error, and only what ends the process, unless somebody wants to read it.
		"AWS_VPC_K8S_CNI_LOG_FILE": "stderr",
		"AWS_VPC_K8S_CNI_LOGLEVEL": "fatal",
		"MY_NODE_NAME":             NodeName,
		"MY_POD_NAME":              "aws-node-1",
	} {
		if _, given := os.LookupEnv(name); !given {
			os.Setenv(name, value)
		}
	}
	os.Setenv("KUBECONFIG", os.DevNull)
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// NodeName is the name of the simulated node.
const NodeName = "node-1"
