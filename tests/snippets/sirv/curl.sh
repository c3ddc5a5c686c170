curl --request POST \
  --url https://api.sirv.com/v2/files/jwt \
  --header 'authorization: Bearer BEARER_TOKEN_HERE' \
  --header 'content-type: application/json' \
  --data '{}'
