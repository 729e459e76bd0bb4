#!/bin/sh
# A plugin of the Container Network Interface: connects a pod to the network of the node with a pair
# of virtual devices. The pod reaches the addresses of the node, and no other one.
set -e
addresses=$(dirname "$0")/addresses
case $CNI_COMMAND in
ADD)
    number=2
    until mkdir "$addresses/$number" 2>/dev/null; do number=$((number + 1)); done
    echo "$CNI_CONTAINERID" >"$addresses/$number/owner"
    address=10.88.0.$number
    ip link add "pod$number" type veth peer name "$CNI_IFNAME" netns "$CNI_NETNS"
    ip address add 10.88.0.1/32 dev "pod$number"
    ip link set "pod$number" up
    ip route add "$address/32" dev "pod$number"
    nsenter --net="$CNI_NETNS" sh -ec "
        ip address add $address/32 dev $CNI_IFNAME
        ip link set $CNI_IFNAME up
        ip route add 10.88.0.1 dev $CNI_IFNAME
        ip route add default via 10.88.0.1 dev $CNI_IFNAME"
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","sandbox":"%s"}],"ips":[{"address":"%s/32","interface":0}]}' \
        "$CNI_IFNAME" "$CNI_NETNS" "$address"
    ;;
DEL)
    # The devices end with the network of the pod.
    for owner in $(grep -lsx "$CNI_CONTAINERID" "$addresses"/*/owner); do rm -r "${owner%/owner}"; done
    ;;
VERSION)
    echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'
    ;;
esac
