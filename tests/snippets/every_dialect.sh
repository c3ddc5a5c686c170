# Asks every dialect of proxy.toml, uses what it got rightly and wrongly, and writes all that is secret to the file `secrets`.
# Expects GATE and ISSUER. Answers go to the folder `answers`.
set -euo pipefail
export no_proxy='*'
mkdir -p answers
number=0
ask() { number=$((number + 1)); curl -sS -i -H "X-Forwarded-For: 10.2.$((number / 250)).$((number % 250))" -o "answers/$number" "$@" || true; }
value() { # URL FILTER, with further options: what an answer says, which is secret
    curl -sS "$1" "${@:3}" | jq -er "$2"
}
secret() { printf '%s\n' "$@" >>secrets; }

BEARER=$(mediagate token caller --sub 42 --scope "media:read invoice:read")
AUTH="Authorization: Bearer $BEARER"
JSON='Content-Type: application/json'
PASSWORD=$(mediagate callers add --name backend --client --generate --scope media:read | tail -1)
kill -HUP "$(cat pid)"
form=(-d grant_type=client_credentials -d client_id=backend --data-urlencode "client_secret=$PASSWORD")
for _ in $(seq 100); do
    ADOBE=$(curl -sS "$ISSUER/o/client/token" "${form[@]}" -H "X-Forwarded-For: 10.1.$((RANDOM % 250)).$((RANDOM % 250))" | jq -r '.access_token // empty')
    [ -z "$ADOBE" ] || break
done
[ -n "$ADOBE" ]
SIRV=$(value "$ISSUER/v2/token" .token -H "$JSON" -d "{\"clientId\":\"backend\",\"clientSecret\":\"$PASSWORD\"}")
PORTAL=$(value "$ISSUER/api/token" .access_token -d grant_type=password -d username=backend --data-urlencode "password=$PASSWORD")
secret "$PASSWORD"

ONCE=$(value "$ISSUER/api/sys/users/token/refresh" .Value -X POST \
    -H "Authorization: Bearer $(mediagate token caller --sub 42 --scope portal:exchange)")
FILE=$(value "$ISSUER/api/sys/users/token/refresh" .Value -X POST -H "$AUTH")
LOGIN=$(value "$ISSUER/api/sys/users/token/refresh" .Value -X POST -H "$AUTH")
EXCHANGED=$(curl -sS -X POST "$ISSUER/api/sys/users/exchange?token=$ONCE&validForInMinutes=5")
REFRESH=$(jq -er .refresh_token <<<"$EXCHANGED")
OPAQUE=$(value "$ISSUER/v1/tokens" .token -H "$AUTH" -H "$JSON" -d '{"scheme":"opaque","paths":["/clip.mp4"]}')
QUERY="requestor=sampleRequestorId&deviceId=living-room-4711&resource=sampleResourceId"
SHORT=$(value "$ISSUER/api/v1/tokens/media.json?$QUERY" .serializedToken -H "$AUTH" -H "X-Device-Info: e30=")
secret "$ONCE" "$FILE" "$LOGIN" "$REFRESH" "$OPAQUE" "$SHORT" "${SHORT:0:300}" "${SHORT: -200}"

MEDIA=$(value "$ISSUER/api/auth/media/customer" .jwt -H "$AUTH")
NATIVE=$(value "$ISSUER/v1/tokens" .token -H "$AUTH" -H "$JSON" -d '{"paths":["/clip.mp4"]}')
FYNN=$(value "$ISSUER/media/1/download-token" .token -X POST -H "$AUTH")
INVOICE=$(value "$ISSUER/invoices/1/download-link" .token -X PUT -H "$AUTH")
DOCS=$(value "$ISSUER/v2/files/jwt" .url -H "$AUTH" -H "$JSON" -d '{"filename":"/docs/","expiresIn":300}')
DOCS=${DOCS##*jwt=}
for jwt in "$BEARER" "$ADOBE" "$SIRV" "$PORTAL" "$(jq -er .token <<<"$EXCHANGED")" "$MEDIA" "$NATIVE" "$FYNN" "$INVOICE" "$DOCS"; do
    secret "$(cut -d. -f2 <<<"$jwt")" "$(cut -d. -f3 <<<"$jwt")"
done

# As they are meant.
ask "$GATE/api/public/billing/invoices/42/pdf?t=$MEDIA"
ask "$GATE/api/public/billing/invoices/42/pdf?t=$FILE"
ask "$GATE/en/user/login?t=$LOGIN&redirectUrl=%2Fen%2Finvoices%2Fdownload%2F42"
ask "$GATE/media/1/download/$FYNN"
ask "$GATE/media/1/download/$INVOICE"
ask "$GATE/clip.mp4?t=$NATIVE"
ask "$GATE/docs/report%201.pdf?jwt=$DOCS"
ask "$GATE/channels/sample/clip.mp4?token=$SHORT"

# Everything everywhere else.
for secret in "$BEARER" "$PASSWORD" "$ONCE" "$FILE" "$LOGIN" "$REFRESH" "$OPAQUE" "$SHORT" "$MEDIA" "$NATIVE" "$FYNN" "$INVOICE" "$DOCS" "$ADOBE"; do
    for path in "/clip.mp4?t=" "/clip.mp4?token=" "/~" "/media/1/download/" "/docs/a.pdf?jwt=" "/channels/sample/clip.mp4?token=" "/login?t=" \
        "/api/public/billing/invoices/42/pdf?t="; do
        ask "$GATE$path$secret" -H 'Accept: text/html'
        ask "$GATE$path${secret}x"
    done
    ask "$GATE/clip.mp4" -H "Authorization: Bearer $secret" -H "Cookie: media=$secret; session=$secret" -H "Referer: $GATE/$secret"
    for door in /v1/tokens /v2/files/jwt /v2/token /media/1/download-token /api/sys/users/token/refresh "/api/sys/users/exchange?token=$secret"; do
        ask -X POST "$ISSUER$door" -H "Authorization: Bearer $secret" -H "$JSON" -d "{\"filename\":\"/$secret\",\"key\":\"$secret\",\"$secret\":1}"
        ask -X POST "$ISSUER$door" -H "$AUTH" -H "$JSON" -d "{\"filename\":\"/$secret\",\"expiresIn\":5,\"key\":\"$secret\",\"alias\":\"$secret\"}"
    done
    ask "$ISSUER/api/v1/tokens/media?$QUERY&resource=$secret" -H "Authorization: Bearer $secret" -H "X-Device-Info: $secret"
    ask "$ISSUER/api/v1/mediatoken.json?requestor=$secret&deviceId=$secret&resource=%3Crss%3E$secret" -H "$AUTH" -H "X-Device-Info: e30="
    ask "$ISSUER/o/client/token" -d grant_type=client_credentials --data-urlencode "client_id=$secret" --data-urlencode "client_secret=$secret"
    ask "$ISSUER/api/token" -d grant_type=password --data-urlencode "username=$secret" --data-urlencode "password=$secret"
    ask "$ISSUER/api/token" -d grant_type=refresh_token --data-urlencode "refresh_token=$secret" -H "client_id: $secret"
    ask "$ISSUER/$secret"
done
echo "$number"
