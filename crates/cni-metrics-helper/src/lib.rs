//! Cluster metrics of the Amazon VPC CNI.
