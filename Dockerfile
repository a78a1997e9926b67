# The image of `make image`: a static nestctl and the CAs of public registries, nothing else, and no shell. Both are put
# into the context, bin/image, by make, so that nothing is fetched.
#
# `nestctl pull` and its like run as the image's user. The DaemonSet of deploy/kubernetes has to do with files
# of the host's root, and is root without capabilities.
FROM scratch
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY nestctl /usr/bin/nestctl
ENV PATH=/usr/bin HOME=/
USER 65532:65532
ENTRYPOINT ["/usr/bin/nestctl"]
