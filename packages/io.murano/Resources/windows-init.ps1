#ps1
# Boot script of a Windows server: tells Murano's Windows agent where its broker is, names the computer, restarts it.
$ErrorActionPreference = 'Stop'

$configFile = 'C:\Murano\Agent\WindowsAgent.exe.config'
$computerName = '%INTERNAL_HOSTNAME%'
$fileServer = '%MURANO_SERVER_ADDRESS%'
$agentConfig = [Convert]::FromBase64String('%AGENT_CONFIG_BASE64%')
$certificate = '%CA_ROOT_CERT_BASE64%'

Stop-Service 'Murano Agent' -ErrorAction SilentlyContinue
[IO.File]::WriteAllBytes($configFile, $agentConfig)

if ($certificate -ne '') {
    $certificateFile = Join-Path $env:TEMP 'ca.cert'
    [IO.File]::WriteAllBytes($certificateFile, [Convert]::FromBase64String($certificate))
    Import-Certificate -FilePath $certificateFile -CertStoreLocation Cert:\LocalMachine\Root | Out-Null
}

[Environment]::SetEnvironmentVariable('MuranoFileShare', "\\$fileServer\share", 'Machine')

if ($env:COMPUTERNAME -ne $computerName) {
    Rename-Computer -NewName $computerName -Force
}
Restart-Computer -Force
