//! A simulated EKS cluster over real sockets.
